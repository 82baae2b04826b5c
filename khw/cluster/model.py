"""What a cluster is: machines as a provider discovered them, and what the cluster file says of them all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from khw.cluster.spec import Role, roles_of

if TYPE_CHECKING:
    from khw.cluster.spec import Network, Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the agent saw on a node when it started. The node is asked; nothing is assumed of where it runs."""

    architecture: str = "amd64"  # GOARCH
    distribution: str = "debian"
    release: str = "12"
    kernel: str = ""
    cgroup: int = 2  # 1 or 2
    can_lower_oom_score: bool = True  # CAP_SYS_RESOURCE is there
    can_set_conntrack: bool = True  # net.netfilter.nf_conntrack_max can be written
    zstd: bool = False  # the zstd command is there
    clock: float = 0.0  # seconds since the epoch, when the agent answered
    swap: bool = False
    container: bool = False  # a container of systemd's kind: swap and modules are its host's
    interfaces: tuple[tuple[str, str], ...] = ()  # name and first IPv4 address of each

    def interface(self, address: str) -> str:
        """Return the interface that has this address; the usual one's name if that is not known yet."""
        return next((name for name, its in self.interfaces if its == address), "eth0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine that exists: what a provider discovered, and what its agent saw (`facts`)."""

    name: str
    role: Role
    internal_ip: str
    external_ip: str | None = None
    pod_cidr: str | None = None
    zone: str = ""
    ssh_host: str = ""
    ssh_port: int = 22
    ssh_user: str = "khw"
    ssh_key: str = ""  # a private key's file of its own, instead of the cluster's
    ssh_jump: str = ""  # through whom it is reached, as `ssh -J` takes it
    jump_keys: tuple[str, ...] = ()  # that one's host keys, if khw made it: then khw's own key opens it, and no other
    host_keys: tuple[str, ...] = ()  # "ssh-ed25519 AAAA…"
    unreachable: str = ""  # why there is no use in connecting: "its instance is TERMINATED"
    exists: bool = True  # False: the cluster file asks for it, and it is not made yet
    also: frozenset[Role] | None = None  # beside its role; None: what every controller is, a member of etcd
    facts: Facts = Facts()

    @property
    def roles(self) -> frozenset[Role]:
        """All that it is for: a controller with a pod CIDR runs pods as well."""
        return roles_of(self.role, pods=self.pod_cidr is not None, also=self.also)

    @property
    def titles(self) -> tuple[Role, ...]:
        """Its role, and `worker` if it runs pods beside that: what its owner calls it."""
        both = self.role is not Role.WORKER and Role.WORKER in self.roles
        return (self.role, Role.WORKER) if both else (self.role,)

    @property
    def bastion(self) -> str:
        """Where the bastion is that khw made and that leads to it; '' if there is none."""
        return self.ssh_jump.rpartition("@")[2] if self.jump_keys else ""

    def with_facts(self, facts: Facts) -> Node:
        """Return this node with what its agent saw."""
        return replace(self, facts=facts)


NOT_KNOWN_YET = "known-once-it-is-made"
"""Stands in a plan for the API's address, as long as nothing has one."""


@dataclass(frozen=True)
class Cluster:
    """A cluster whose machines are known: what tasks, certificates and checks are functions of."""

    spec: Spec
    nodes: tuple[Node, ...]
    api_address: str  # the load balancer's external address, without a port
    nat_address: str | None = None  # where private nodes are seen outside (provider gcp)
    may_bootstrap: bool = False  # its etcd was never whole: members may start a cluster, and not only join one

    @cached_property
    def controllers(self) -> tuple[Node, ...]:
        """The controllers, by name."""
        return tuple(n for n in self.nodes if n.role is Role.CONTROLLER)

    @cached_property
    def workers(self) -> tuple[Node, ...]:
        """All that run pods, by name; controllers among them where they do."""
        return tuple(n for n in self.nodes if Role.WORKER in n.roles)

    @cached_property
    def etcd_members(self) -> tuple[Node, ...]:
        """Where etcd is, by name: the controllers, unless it has machines of its own."""
        return tuple(n for n in self.nodes if Role.ETCD in n.roles)

    @property
    def stacked(self) -> bool:
        """Whether etcd is on the controllers, and has no machines of its own."""
        return any(Role.ETCD in n.roles for n in self.controllers)

    @property
    def name(self) -> str:
        """The cluster's name, from its file."""
        return self.spec.name

    @property
    def network(self) -> Network:
        """The cluster's ranges, from its file."""
        return self.spec.network

    @property
    def api_url(self) -> str:
        """Where everything outside the control plane reaches the API."""
        return f"https://{self.api_address}:{self.spec.api_port}"

    def node(self, name: str) -> Node:
        """Return the node of this name."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}
