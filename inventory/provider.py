"""What khw asks of a source of nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from khw.checks import CheckResult
    from khw.cluster.model import Cluster
    from khw.converge.changes import Change


@dataclass(frozen=True, slots=True)
class Route:
    """A row of the route table, as the guide prints it (chapter 11)."""

    name: str
    network: str
    dest_range: str
    next_hop: str
    priority: int


@dataclass(frozen=True, slots=True)
class FirewallRule:
    """
    A firewall rule of the network (chapters 3, 8 and 13), in words.

    `what` are protocols with their ports, `others` the ranges (or tags) that packets come from, or go to where it is
    about what leaves; `machines` are the tags of the machines that it is for, all of them where it is empty.
    """

    name: str
    action: str  # allow, deny; 'off' for a rule that is disabled
    what: str
    others: str
    machines: str
    priority: int
    leaving: bool = False


class Provider(Protocol):
    """
    A source of nodes: `gcp` makes them, `static` takes them as they are.

    Every `ensure_` is idempotent; with `check` it says what it would do and does nothing. What exists and differs is
    a `DiffersError` that names it, never overwritten silently.
    """

    def look_ahead(self, phases: Collection[str]) -> None:
        """Begin to read what `discover` and these phases of a run will ask for; whatever fails is told where it is."""
        ...

    def preflight(self) -> Sequence[CheckResult]:
        """Chapter 1: credentials, project, region, zone: what is missing, before anything is made."""
        ...

    def ensure_compute(self, *, check: bool = False) -> Sequence[Change]:
        """Chapter 3: network, subnet, firewall, address and machines."""
        ...

    def discover(self) -> Cluster:
        """Return the cluster with its machines as they are now; ProviderError names what is missing."""
        ...

    def foresee(self) -> Cluster:
        """
        Return the cluster as chapter 3 will leave it: what exists as discovered, the rest from the cluster file.

        A machine that is not made yet has `exists` False and no external address; the API's may be NOT_KNOWN_YET.
        """
        ...

    def ensure_load_balancer(self, cluster: Cluster, *, check: bool = False) -> Sequence[Change]:
        """Chapter 8: health check, backend, forwarding rule and the health checkers' firewall rule."""
        ...

    def ensure_routes(self, cluster: Cluster, *, check: bool = False) -> Sequence[Change]:
        """Chapter 11: a route for each worker's pod CIDR."""
        ...

    def routes(self) -> Sequence[Route]:
        """Return the network's route table, default routes included."""
        ...

    def firewall(self) -> Sequence[FirewallRule]:
        """Return the network's firewall rules; none where the network is the user's own."""
        ...

    def destroy(self) -> Sequence[Change]:
        """Chapter 14: everything that the ensures made, in an order that works, again and again."""
        ...

    def foretell(self) -> tuple[Sequence[Change], Sequence[str]]:
        """Return what `destroy` would remove, and what of the cluster would stay, from one look."""
        ...

    def stop(self) -> None:
        """End every wait at once, from another thread: Ctrl-C. What was begun in the cloud goes on there."""
        ...

    def leftovers(self) -> Sequence[str]:
        """Return what is left of the cluster in the project, by label and by name: after destroy, nothing."""
        ...
