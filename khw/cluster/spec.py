"""
The cluster file as values: `Spec` and its parts, and the machines that it asks for.

`khw.cluster.file` reads khw.yaml into a `Spec`; a provider turns a `Spec` into a `Cluster` (`khw.cluster.model`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterable


BASTION_TYPE = "e2-micro"  # it passes packets on
BASTION_DISK_GB = 10  # its image's own size


class Role(StrEnum):
    """What a machine is for; also the name of its Nornir group and of its network tag."""

    CONTROLLER = "controller"
    ETCD = "etcd"  # a member of etcd: a controller, unless etcd has machines of its own
    WORKER = "worker"
    BALANCER = "balancer"  # haproxy and keepalived in front of the API (machines of one's own)
    ROUTED = "routed"  # has the routes to the others' pods itself (likewise)


def roles_of(role: Role, *, pods: bool, also: frozenset[Role] | None) -> frozenset[Role]:
    """
    Return all that a machine is for: its role, and `worker` where it has a range for pods.

    `also` are further roles; None, which says nothing, is what every controller is: a member of etcd.
    """
    etcd = frozenset({Role.ETCD}) if role is Role.CONTROLLER else frozenset()
    return frozenset({role}) | (etcd if also is None else also) | (frozenset({Role.WORKER}) if pods else frozenset())


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Network(_Part):
    """Chapter 3's network and chapter 8's and 9's ranges."""

    name: str = Field("kubernetes-the-hard-way", description="The VPC network's name.")
    subnet: str = Field("kubernetes", description="The subnet's name.")
    subnet_cidr: IPv4Network = Field(
        IPv4Network("10.240.0.0/24"), description="The machines' own addresses. /29 or larger."
    )
    cluster_cidr: IPv4Network = Field(
        IPv4Network("10.200.0.0/16"), description="The pods' addresses. Each worker gets a /24 of it."
    )
    service_cidr: IPv4Network = Field(
        IPv4Network("10.32.0.0/24"),
        description="The Services' addresses: the first is the API's, the tenth is DNS's. Between /12 and /28.",
    )
    source_ranges: tuple[IPv4Network, ...] | None = Field(
        None,
        description="Who may reach SSH, the API and NodePorts from outside (provider gcp). Left out: this machine's own"
        " address alone, where it can be known; the world only if [0.0.0.0/0] says so.",
    )
    api_port: int = Field(6443, description="The port of the API, on the controllers and on the load balancer.")
    node_ports: str = Field("30000-32767", description="The range of ports that NodePort Services get.")
    dns_domain: str = Field("cluster.local", description="The domain of the cluster's own names.")

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

    count: int = Field(
        3, ge=0, le=200, description="How many. Where etcd is, they are an odd number: it needs a majority."
    )
    name: str = Field(description="What the names are counted up from: NAME-0, NAME-1, …")
    names: tuple[str, ...] = Field((), description="The names, if they are not to be counted up.")
    first_address: IPv4Address = Field(description="The first machine's address; the others count up from it.")
    addresses: tuple[IPv4Address, ...] = Field((), description="The addresses, if they are not to be counted up.")
    machine_type: str = Field("e2-standard-2", description="The machine type, as Google Cloud names it.")
    disk_gb: int = Field(200, ge=10, description="The size of the boot disk, in GB.")
    image: str = Field(
        "projects/debian-cloud/global/images/family/debian-12",
        description="The image, or the family whose newest image is taken.",
    )
    images: tuple[str, ...] = Field(
        (), description="The images, machine by machine, if they are not all `image`: Debian 12 beside 13."
    )


class Gcp(_Part):
    """A GCP project. `endpoint` and `credentials: anonymous` point it at the lab."""

    project: str = Field(description="The project's id.")
    region: str = Field("us-west1", description="Where the network and the API's address are.")
    zone: str = Field("us-west1-c", description="Where the machines are: a zone of the region.")
    zones: tuple[str, ...] = Field(
        (),
        description="Zones of the region to spread the machines over, instead of `zone`: the first controller and the"
        " first worker are in the first one, and so on in turn.",
    )
    private_nodes: bool = Field(
        False,
        description="Machines get no external address: a bastion, which khw makes, leads to them, and Cloud NAT leads"
        " them out.",
    )
    endpoint: str | None = Field(None, description="The API's URL, if it is not Google's own: the lab's.")
    credentials: Literal["default", "anonymous"] = Field(
        "default",
        description="`default`: the application default credentials (`gcloud auth application-default login`);"
        " `anonymous`: none, for the lab.",
    )
    impersonate: str | None = Field(
        None,
        description="A service account's e-mail address: khw acts as that account, with no key of it on this machine.",
    )
    quota_project: str | None = Field(
        None, description="The project whose quota the requests count against, if it is not the credentials' own."
    )

    @property
    def places(self) -> tuple[str, ...]:
        """The zones that machines are put into, in turn."""
        return self.zones or (self.zone,)


class StaticNode(_Part):
    """A machine of the user's own."""

    name: str = Field(description="Its host name.")
    role: Literal[Role.CONTROLLER, Role.WORKER, Role.ETCD] = Field(
        description="What it is for: controller, worker, or etcd (then etcd is on these and on no controller)."
    )
    address: IPv4Address = Field(description="The address at which the other machines reach it.")
    pod_cidr: IPv4Network | None = Field(
        None,
        description="A worker's part of network.cluster_cidr, for its pods. A controller that has one is a worker too.",
    )
    host: str | None = Field(
        None, description="Where SSH reaches it, if not at its address: a name, also one of ssh.config."
    )
    port: int | None = Field(None, description="Its SSH port, if not 22 or what ssh.config says.")
    user: str | None = Field(None, description="Who logs in to it, if not ssh.user: a user with sudo.")
    host_keys: tuple[str, ...] = Field(
        (),
        description="Its SSH host keys, as in /etc/ssh/ssh_host_*_key.pub; without them those of your own "
        "~/.ssh/known_hosts. No key is trusted on first use.",
    )


class Static(_Part):
    """Machines of the user's own, the address that the API is reached at, and who leads packets to it and to pods."""

    api_address: str = Field(
        description="The API's address, without a port: a load balancer's of your own, the only controller's, "
        "or with `balancer: haproxy` a free one of the controllers' network."
    )
    balancer: Literal["own", "haproxy"] = Field(
        "own",
        description="`haproxy`: haproxy and keepalived on the controllers, which share api_address; "
        "`own`: what answers at api_address is yours.",
    )
    balancer_port: int = Field(
        8443, description="haproxy's port, which is the API's from outside: on the controllers api_port is taken."
    )
    routes: Literal["nodes", "own"] = Field(
        "nodes",
        description="`nodes`: each machine has the routes to the others' pods (all are in one network); "
        "`own`: your router has them.",
    )
    nodes: tuple[StaticNode, ...] = Field((), description="The machines.")
    hosts_file: str | None = Field(
        None,
        description="The machines as Nornir's SimpleInventory has them, instead of `nodes`: a hosts.yaml, "
        "with groups.yaml and defaults.yaml beside it.",
    )

    def also(self, role: Role) -> frozenset[Role]:
        """Return what a machine of this role is for beside it."""
        apart = any(node.role is Role.ETCD for node in self.nodes)
        more = {Role.ROUTED} if self.routes == "nodes" else set()
        if role is Role.CONTROLLER:
            more |= (set() if apart else {Role.ETCD}) | ({Role.BALANCER} if self.balancer == "haproxy" else set())
        return frozenset(more)


class Encryption(_Part):
    """Chapter 6."""

    provider: Literal["aescbc", "secretbox"] = Field(
        "aescbc", description="How Secrets are encrypted in etcd. aescbc is the guide's."
    )


class Proxy(_Part):
    """kube-proxy's mode, chapter 9."""

    mode: Literal["iptables", "nftables"] = Field(
        "iptables", description="What kube-proxy makes its rules with. iptables is the guide's."
    )


class Ssh(_Part):
    """How khw logs in. The key is khw's own unless one is named."""

    user: str = Field("khw", description="Who logs in. khw makes this user on machines that it makes.")
    private_key: str | None = Field(
        None, description="A private key's file, from the cluster file's folder, instead of the one that khw makes."
    )
    config: str | None = Field(
        None,
        description="An OpenSSH client configuration, such as ~/.ssh/config: HostName, Port, User, IdentityFile, "
        "ProxyJump count for machines of your own.",
    )
    bastion: str | None = Field(
        None,
        description="Through whom machines of your own are reached, as `ssh -J` takes it: USER@HOST:PORT, more after a "
        "comma. Your own ssh logs in there, with your own keys and known_hosts.",
    )
    sudo: Literal["free", "password"] = Field(
        "free",
        description="`password`: sudo asks for one. khw asks for it at the terminal, or takes it from the environment "
        "(KHW_SUDO_PASSWORD) or a file descriptor (KHW_SUDO_PASSWORD_FD), and keeps it nowhere.",
    )


class ArtifactSources(_Part):
    """Where binaries and images come from, in order; and whether nodes pass them on to each other (khw.ssh.relay)."""

    sources: tuple[Literal["cache", "mirror", "upstream", "build"], ...] = Field(
        ("cache", "upstream", "build"), description="Where to look, in this order."
    )
    mirror: str | None = Field(
        None, description="What `khw artifacts bundle -o DIRECTORY` wrote: from the cluster file's folder, or a URL."
    )
    relay: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether nodes pass artifacts on to each other, so that each crosses your line once: `auto` where "
        "they are 10 ms of round trip away or more.",
    )


class Timeouts(_Part):
    """Limits in seconds: no connect, command, wait or cloud operation is without one."""

    connect: float = Field(20.0, gt=0, description="An SSH login, tried again until then; the agent's first word.")
    boot: float = Field(180.0, gt=0, description="A new machine, until it has published its SSH host keys.")
    command: float = Field(120.0, gt=0, description="A command on a node, a service's start, a call of kubectl.")
    install: float = Field(300.0, gt=0, description="A package or an image on a node.")
    ready: float = Field(180.0, gt=0, description="A condition: etcd healthy, the API server ready, a worker Ready.")
    cloud: float = Field(300.0, gt=0, description="An operation in the cloud.")


class Spec(_Part):
    """The cluster file."""

    name: str = Field(
        "kubernetes-the-hard-way",
        pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$",
        description="The cluster's name, and of its folder .khw/NAME: lower-case letters, digits and '-', 40 at most.",
    )
    provider: Literal["gcp", "static"] = Field(
        "gcp", description="Where machines come from: a project of Google Cloud (or the lab's), or a list of your own."
    )
    gcp: Gcp | None = Field(None, description="The project, for provider gcp.")
    static: Static | None = Field(None, description="Machines of your own, for provider static.")
    network: Network = Field(
        Network(), description="Chapters 3, 8 and 9: the network and its ranges. They must not overlap."
    )
    controllers: Pool = Field(
        Pool(name="controller", first_address=IPv4Address("10.240.0.10")),
        description="Chapter 3: the machines of the control plane (provider gcp).",
    )
    etcd: Pool = Field(
        Pool(name="etcd", count=0, first_address=IPv4Address("10.240.0.30")),
        description="Chapter 3: machines for etcd alone, an odd number (provider gcp). Without them etcd is on the"
        " controllers.",
    )
    workers: Pool = Field(
        Pool(name="worker", first_address=IPv4Address("10.240.0.20")),
        description="Chapter 3: the machines that pods run on (provider gcp).",
    )
    encryption: Encryption = Field(Encryption(), description="Chapter 6: Secrets at rest.")
    proxy: Proxy = Field(Proxy(), description="Chapter 9: kube-proxy.")
    ssh: Ssh = Field(Ssh(), description="How khw logs in.")
    artifacts: ArtifactSources = Field(ArtifactSources(), description="Where binaries and images come from.")
    timeouts: Timeouts = Field(Timeouts(), description="Limits in seconds; nothing waits without one.")

    @property
    def planned(self) -> tuple[Planned, ...]:
        """The machines that the file asks for, controllers first."""
        if self.provider == "static" and self.static:
            rows = sorted(self.static.nodes, key=lambda node: node.role)
            return tuple(Planned(n.name, n.role, n.address, n.pod_cidr, self.static.also(n.role)) for n in rows)
        alone = self.workers.count == 0
        return (
            *_planned(self.controllers, Role.CONTROLLER, self.network if alone else None, self.also),
            *_planned(self.etcd, Role.ETCD, None),
            *_planned(self.workers, Role.WORKER, self.network),
        )

    @property
    def also(self) -> frozenset[Role] | None:
        """What a controller is beside its role (provider gcp): nothing where etcd has machines of its own."""
        return frozenset() if self.etcd.count else None

    @property
    def pools(self) -> dict[Role, Pool]:
        """The machines that a cloud makes, by their role."""
        return {Role.CONTROLLER: self.controllers, Role.ETCD: self.etcd, Role.WORKER: self.workers}

    @property
    def private_nodes(self) -> bool:
        """Whether no node has an external address (provider gcp)."""
        return self.provider == "gcp" and self.gcp is not None and self.gcp.private_nodes

    @property
    def bastion_name(self) -> str:
        """What the machine is called that leads to private nodes (provider gcp)."""
        return f"{self.network.name}-bastion"

    @property
    def bastion_address(self) -> IPv4Address:
        """Its address inside: the last of the subnet that Google gives to machines."""
        return self.network.subnet_cidr[-3]

    @property
    def api_port(self) -> int:
        """The port of the API from outside: the controllers' own, unless haproxy is beside it."""
        haproxy = self.provider == "static" and self.static and self.static.balancer == "haproxy"
        return self.static.balancer_port if haproxy and self.static else self.network.api_port


@dataclass(frozen=True, slots=True)
class Planned:
    """A machine that the cluster file asks for."""

    name: str
    role: Role
    address: IPv4Address
    pod_cidr: IPv4Network | None
    also: frozenset[Role] | None = None
    image: str = ""  # what a cloud makes it from

    @property
    def roles(self) -> frozenset[Role]:
        """All that it is for."""
        return roles_of(self.role, pods=self.pod_cidr is not None, also=self.also)


def _planned(pool: Pool, role: Role, network: Network | None, also: frozenset[Role] | None = None) -> Iterable[Planned]:
    ranges = network.cluster_cidr.subnets(new_prefix=24) if network else None
    for index in range(pool.count):
        name = pool.names[index] if index < len(pool.names) else f"{pool.name}-{index}"
        address = pool.addresses[index] if index < len(pool.addresses) else pool.first_address + index
        image = pool.images[index] if index < len(pool.images) else pool.image
        yield Planned(name, role, address, next(ranges) if ranges else None, also, image)
