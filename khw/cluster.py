"""
What a cluster is: the cluster file as values (`Spec`), and a cluster whose machines are known (`Cluster`).

`khw.clusterfile` reads khw.yaml into a `Spec`; a provider turns a `Spec` into a `Cluster` by discovery.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterable


class Role(StrEnum):
    """What a machine is for; also the name of its Nornir group and of its network tag."""

    CONTROLLER = "controller"
    WORKER = "worker"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Network(_Part):
    """Chapter 3's network and chapter 8's and 9's ranges."""

    name: str = "kubernetes-the-hard-way"
    subnet: str = "kubernetes"
    subnet_cidr: IPv4Network = IPv4Network("10.240.0.0/24")
    cluster_cidr: IPv4Network = IPv4Network("10.200.0.0/16")
    service_cidr: IPv4Network = IPv4Network("10.32.0.0/24")
    source_ranges: tuple[IPv4Network, ...] = (IPv4Network("0.0.0.0/0"),)
    api_port: int = 6443
    node_ports: str = "30000-32767"
    dns_domain: str = "cluster.local"

    @property
    def service_address(self) -> IPv4Address:
        """The `kubernetes` Service's address: the first of the service CIDR."""
        return self.service_cidr[1]

    @property
    def dns_address(self) -> IPv4Address:
        """The `kube-dns` Service's address: the tenth of the service CIDR."""
        return self.service_cidr[10]


class Pool(_Part):
    """The machines of one role. Addresses and names are counted up unless they are listed."""

    count: int = Field(3, ge=0, le=200)
    name: str
    names: tuple[str, ...] = ()
    first_address: IPv4Address
    addresses: tuple[IPv4Address, ...] = ()
    machine_type: str = "e2-standard-2"
    disk_gb: int = Field(200, ge=10)
    image: str = "projects/debian-cloud/global/images/family/debian-12"


class Gcp(_Part):
    """A GCP project. `endpoint` and `credentials: anonymous` point it at the lab."""

    project: str
    region: str = "us-west1"
    zone: str = "us-west1-c"
    endpoint: str | None = None
    credentials: Literal["default", "anonymous"] = "default"


class StaticNode(_Part):
    """A machine of the user's own."""

    name: str
    role: Role
    address: IPv4Address
    pod_cidr: IPv4Network | None = None
    host: str | None = None
    port: int = 22
    user: str | None = None
    host_keys: tuple[str, ...] = Field(min_length=1)


class Static(_Part):
    """Machines of the user's own, and the address that the API is reached at."""

    api_address: str
    nodes: tuple[StaticNode, ...]


class Encryption(_Part):
    """Chapter 6."""

    provider: Literal["aescbc", "secretbox"] = "aescbc"


class Proxy(_Part):
    """kube-proxy's mode, chapter 9."""

    mode: Literal["iptables", "nftables"] = "iptables"


class Ssh(_Part):
    """How khw logs in. The key is khw's own unless one is named."""

    user: str = "khw"
    private_key: str | None = None


class ArtifactSources(_Part):
    """Where binaries and images come from, in order."""

    sources: tuple[Literal["cache", "mirror", "upstream", "build"], ...] = ("cache", "upstream", "build")
    mirror: str | None = None


class Timeouts(_Part):
    """Limits in seconds: no connect, command, wait or cloud operation is without one."""

    connect: float = Field(20.0, gt=0)
    boot: float = Field(180.0, gt=0)
    command: float = Field(120.0, gt=0)
    install: float = Field(300.0, gt=0)
    ready: float = Field(180.0, gt=0)
    cloud: float = Field(300.0, gt=0)


class Spec(_Part):
    """The cluster file."""

    name: Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")] = "kubernetes-the-hard-way"
    provider: Literal["gcp", "static"] = "gcp"
    gcp: Gcp | None = None
    static: Static | None = None
    network: Network = Network()
    controllers: Pool = Pool(name="controller", first_address=IPv4Address("10.240.0.10"))
    workers: Pool = Pool(name="worker", first_address=IPv4Address("10.240.0.20"))
    encryption: Encryption = Encryption()
    proxy: Proxy = Proxy()
    ssh: Ssh = Ssh()
    artifacts: ArtifactSources = ArtifactSources()
    timeouts: Timeouts = Timeouts()

    @property
    def planned(self) -> tuple[Planned, ...]:
        """The machines that the file asks for, controllers first."""
        if self.provider == "static" and self.static:
            rows = sorted(self.static.nodes, key=lambda node: node.role)
            return tuple(Planned(n.name, n.role, n.address, n.pod_cidr) for n in rows)
        return (
            *_planned(self.controllers, Role.CONTROLLER, None),
            *_planned(self.workers, Role.WORKER, self.network),
        )


@dataclass(frozen=True, slots=True)
class Planned:
    """A machine that the cluster file asks for."""

    name: str
    role: Role
    address: IPv4Address
    pod_cidr: IPv4Network | None


def _planned(pool: Pool, role: Role, network: Network | None) -> Iterable[Planned]:
    ranges = network.cluster_cidr.subnets(new_prefix=24) if network else None
    for index in range(pool.count):
        name = pool.names[index] if index < len(pool.names) else f"{pool.name}-{index}"
        address = pool.addresses[index] if index < len(pool.addresses) else pool.first_address + index
        yield Planned(name, role, address, next(ranges) if ranges else None)


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
    host_keys: tuple[str, ...] = ()  # "ssh-ed25519 AAAA…"
    unreachable: str = ""  # why there is no use in connecting: "its instance is TERMINATED"
    exists: bool = True  # False: the cluster file asks for it, and it is not made yet
    facts: Facts = Facts()

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
    may_bootstrap: bool = False  # its etcd was never whole: members may start a cluster, and not only join one

    @cached_property
    def controllers(self) -> tuple[Node, ...]:
        """The controllers, by name."""
        return tuple(n for n in self.nodes if n.role is Role.CONTROLLER)

    @cached_property
    def workers(self) -> tuple[Node, ...]:
        """The workers, by name."""
        return tuple(n for n in self.nodes if n.role is Role.WORKER)

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
        return f"https://{self.api_address}:{self.network.api_port}"

    def node(self, name: str) -> Node:
        """Return the node of this name."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}
