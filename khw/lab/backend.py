"""
What the emulated API asks of real machines and a real network: the seam between `khw.lab.api` and the rest.

The API keeps what a user asked for (its state); a `Backend` makes it so. Every call may block: the API calls
them from worker threads, never two changes at once for the same machine, and never two `apply_network` at
once. Every call is idempotent, since the daemon repeats them after a restart. What goes wrong is a
`LabError`, whose text becomes the error of the API's operation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class MachineState(StrEnum):
    """What a machine is doing, as the backend sees it."""

    MISSING = "MISSING"  # never created, or deleted
    STOPPED = "STOPPED"
    RUNNING = "RUNNING"


class Health(StrEnum):
    """What a load balancer's health check says of one machine; Google's words."""

    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """
    An instance as the user inserted it.

    The backend makes the machine's host name, its names of others and its users from this, and from nothing
    else: `metadata` carries ssh-keys ("USER:KEY" lines; an authorized_keys with sudo for each), pod-cidr,
    enable-guest-attributes, as on Google.
    """

    project: str
    zone: str
    name: str
    image: str  # the image's own name: "debian-12" or "debian-13"
    machine_type: str  # "e2-standard-2"
    network: str  # names, not links
    subnet: str
    internal_ip: str
    external_ip: str | None
    can_ip_forward: bool
    tags: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A VPC network."""

    name: str
    mtu: int = 1460


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet; its gateway is the range's first address."""

    name: str
    network: str
    cidr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """A protocol and its ports; no ports is all ports. A port is "22" or "30000-32767"."""

    protocol: str  # "tcp", "udp", "icmp", "all", or a number, in lower case
    ports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """A firewall rule. No `target_tags` means every machine of the network. The lowest priority wins."""

    name: str
    network: str
    direction: Literal["INGRESS", "EGRESS"]
    priority: int
    action: Literal["allow", "deny"]
    traffic: tuple[Traffic, ...]
    source_ranges: tuple[str, ...] = ()
    source_tags: tuple[str, ...] = ()
    destination_ranges: tuple[str, ...] = ()
    target_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route that a user made, to a machine's internal address. Subnet routes go without saying."""

    name: str
    network: str
    dest_range: str
    next_hop_ip: str
    priority: int
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Nat:
    """A Cloud NAT: those machines of a network that have no external address are seen outside at this one."""

    network: str
    address: str
    subnets: tuple[str, ...] | None  # names; None: all of the network


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A machine as the network sees it: one for every instance, created yet or not, running or not."""

    machine: str
    network: str
    subnet: str
    internal_ip: str
    external_ip: str | None
    tags: tuple[str, ...]
    can_ip_forward: bool
    running: bool  # what the user wants: a stopped instance has no external listeners


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """How a load balancer knows that a backend is well. Times in seconds."""

    kind: Literal["TCP", "HTTP", "HTTPS"]
    port: int
    path: str = "/"
    host: str = ""
    interval: int = 5
    timeout: int = 5
    healthy_threshold: int = 2
    unhealthy_threshold: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancer:
    """
    A forwarding rule and its backend service: `address`:port goes to the same port of a healthy machine.

    It answers outside (the lab's loopback block) and inside the VPC alike.
    """

    name: str  # the forwarding rule's
    backend_service: str
    address: str
    ports: tuple[str, ...]  # "6443" or "8000-8010"
    machines: tuple[str, ...]  # names; each has an Attachment
    health_check: HealthCheck | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkState:
    """Everything that the network is to be: `apply_network` makes it so, and takes away what is not in it."""

    networks: tuple[Network, ...] = ()
    subnets: tuple[Subnet, ...] = ()
    firewalls: tuple[Firewall, ...] = ()
    routes: tuple[Route, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    addresses: tuple[str, ...] = ()  # external addresses in use or reserved, for a machine or not
    load_balancers: tuple[LoadBalancer, ...] = ()
    nats: tuple[Nat, ...] = ()


class Backend(Protocol):
    """Real machines and a real network for one lab, which is one project."""

    def apply_network(self, state: NetworkState) -> None:
        """
        Make the whole network as `state` says: idempotent, and quick when nothing differs.

        The API calls it after every change that matters to it, and both before `create_machine` (so that the
        subnet is there) and after it.
        """
        ...

    def create_machine(self, spec: MachineSpec) -> None:
        """Create the machine, attach it to its subnet, start it; return when it runs, not yet booted."""
        ...

    def start_machine(self, name: str) -> None:
        """Start a stopped machine, with the metadata last set; its network is attached again."""
        ...

    def stop_machine(self, name: str) -> None:
        """Shut the machine down (politely at first); its disk stays."""
        ...

    def reset_machine(self, name: str) -> None:
        """Pull the plug and start again; its disk stays."""
        ...

    def delete_machine(self, name: str) -> None:
        """End the machine and remove its disk; no error if it is gone."""
        ...

    def machine_state(self, name: str) -> MachineState:
        """Return what the machine is doing."""
        ...

    def machines(self) -> Sequence[str]:
        """Return the names of all machines that exist; the API deletes those that it does not know."""
        ...

    def set_metadata(self, name: str, metadata: Mapping[str, str]) -> None:
        """Take over the whole new metadata: changed ssh-keys become authorized_keys on a running machine."""
        ...

    def serial_output(self, name: str) -> bytes:
        """Return all of the console since the machine was last started."""
        ...

    def guest_attributes(self, name: str) -> Mapping[str, str]:
        """
        Return what the guest has published: "hostkeys/ssh-ed25519" -> its base64 key, and so for each key.

        Empty until the machine has booted far enough. Asked from the machine, or kept since it last answered.
        """
        ...

    def backend_health(self, backend_service: str) -> Mapping[str, Health]:
        """Return the health of each machine of the load balancer(s) with this backend service."""
        ...

    def on_stop(self, tell: Callable[[str], None]) -> None:
        """From now on tell the name of each machine that ended by itself: not stopped here, not rebooting."""
        ...

    def close(self) -> None:
        """Let go of helper threads and connections, not of machines: the daemon ends, the lab stays."""
        ...
