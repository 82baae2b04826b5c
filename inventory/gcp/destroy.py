"""Chapter 14: everything that chapters 3, 8 and 11 made, removed in an order that works, again and again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from khw.converge.changes import Action, Change
from khw.inventory.gcp.errors import explained
from khw.inventory.gcp.kinds import (
    ADDRESS,
    BACKEND,
    DISK,
    FIREWALL,
    FORWARDING_RULE,
    GROUP,
    HEALTH_CHECK,
    INSTANCE,
    NETWORK,
    ROUTE,
    ROUTER,
    SUBNET,
    Kind,
)
from khw.inventory.gcp.library import refusals
from khw.inventory.gcp.machine import CLUSTER_LABEL
from khw.inventory.gcp.operations import Job, begin, finish, last, together
from khw.inventory.gcp.private import nat_name, router_name
from khw.inventory.gcp.routes import route_name
from khw.inventory.gcp.wanted import mark
from khw.inventory.gcp.zones import zones_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from khw.cluster.spec import Spec
    from khw.inventory.gcp.clients import Api, Message

# What must be gone before a kind can go: whatever uses it.
USERS: dict[Kind, tuple[Kind, ...]] = {
    FORWARDING_RULE: (),
    ROUTE: (),
    FIREWALL: (),
    ROUTER: (),
    INSTANCE: (),
    DISK: (INSTANCE,),
    BACKEND: (FORWARDING_RULE,),
    ADDRESS: (FORWARDING_RULE, ROUTER),
    HEALTH_CHECK: (BACKEND,),
    GROUP: (BACKEND,),
    SUBNET: (INSTANCE, GROUP),
    NETWORK: (SUBNET, ROUTE, ROUTER, FIREWALL, GROUP, INSTANCE),
}


NOT_OURS = "of this name, and not made by khw for this cluster"
IN_OUR_NETWORK = "in the cluster's network, which cannot go before it; not khw's"
COMES_ALONG = "default-route-"  # Google's own routes of a network go with it


@dataclass(frozen=True, slots=True)
class Found:
    """A resource of the cluster that is there; `others` says why one is not khw's to remove. Its text is for people."""

    kind: Kind
    name: str
    zone: str = ""
    others: str = ""

    @property
    def ours(self) -> bool:
        """Whether khw made it for this cluster."""
        return not self.others

    @property
    def id(self) -> str:
        """What changes call it."""
        return f"{self.kind.name}:{self.name}"

    def __str__(self) -> str:
        return self.id if self.ours else f"{self.id} ({self.others})"


def destroy(api: Api, spec: Spec) -> list[Change]:
    """
    Remove all that is khw's of this cluster; each as soon as nothing uses it any more.

    A machine's disk goes with it, unless somebody has told it to stay: then it shows once the machine is gone.
    """
    changes = _remove_all(api, [row for row in find(api, spec) if row.ours])
    stayed = [row for row in _disks(api, spec) if row.id not in {change.resource for change in changes}]
    return [*changes, *_remove_all(api, stayed)]


def foretell(api: Api, spec: Spec) -> tuple[list[Change], list[Found]]:
    """Return what `destroy` would remove, and what would stay: both from one look at the project."""
    rows = left(api, spec)
    return [_removal(api, row) for row in rows if row.ours], [row for row in rows if not row.ours]


def _remove_all(api: Api, rows: Sequence[Found]) -> list[Change]:
    jobs = [
        Job(row, partial(remove, api, row), tuple(user for user in rows if user.kind in USERS[row.kind]))
        for row in rows
    ]
    seconds = together(api, jobs)
    return [_removal(api, row, seconds[row]) for row in rows]


def _removal(api: Api, row: Found, seconds: float = 0.0) -> Change:
    return Change(resource=row.id, action=Action.REMOVED, before=where(api, row), after="absent", seconds=seconds)


def where(api: Api, row: Found) -> str:
    """Return where a resource is: its zone, its region, or global."""
    return {"zone": row.zone, "region": api.gcp.region, "global": "global"}[row.kind.scope]


def find(api: Api, spec: Spec) -> list[Found]:
    """
    Return what there is of the cluster, in the order of removal.

    Machines and their disks are found by label, in every zone; the other kinds by khw's mark, or by a name that
    chapters 3, 8 and 11 give (then maybe somebody else's), or because they are in the cluster's network. What a list
    does not show is asked for by its name: lists may lag.
    """
    listed = _listed(api, spec)
    known = {(row.kind, row.name, row.zone) for row in listed}
    names = [row for row in _named(api, spec) if row not in known]
    found = together(api, [Job(row, partial(api.get, *row)) for row in names])
    unlisted = [_by_name(spec, kind, found[kind, name, zone]) for kind, name, zone in names if found[kind, name, zone]]
    order = list(USERS)
    return sorted([*listed, *filter(None, unlisted)], key=lambda row: order.index(row.kind))


def left(api: Api, spec: Spec) -> list[Found]:
    """Return what is left of the cluster: what a list shows and is no more does not count."""
    rows = find(api, spec)
    seen = together(api, [Job(row, partial(api.get, row.kind, row.name, row.zone)) for row in rows])
    return [row for row in rows if seen[row] is not None]


def _listed(api: Api, spec: Spec) -> list[Found]:
    machines = [Found(INSTANCE, str(row.name), last(row.zone)) for row in api.labelled(CLUSTER_LABEL, spec.name)]
    zones = sorted({*api.gcp.places, *(row.zone for row in machines)})
    kinds = [kind for kind in USERS if kind not in {INSTANCE, DISK}]
    places = [(kind, zone) for kind in kinds for zone in (zones if kind.scope == "zone" else [""])]
    jobs = [Job(place, partial(api.list, *place)) for place in places]
    found = together(api, [*jobs, Job(DISK, partial(_disks, api, spec))])
    own = {str(row.name) for row in found[NETWORK, ""] if row.description == mark(spec.name)}
    rows = [_of_kind(spec, kind, item, zone, own) for kind, zone in places for item in found[kind, zone]]
    return [*machines, *found[DISK], *filter(None, rows)]


def _disks(api: Api, spec: Spec) -> list[Found]:
    """Return the disks that no machine has any more."""
    rows = api.labelled(CLUSTER_LABEL, spec.name, DISK)
    return [Found(DISK, str(row.name), last(row.zone)) for row in rows if not row.users]


def _by_name(spec: Spec, kind: Kind, item: Message) -> Found | None:
    """Return what has one of our names; a machine is ours by its label alone."""
    zone = last(item.zone) if kind.scope == "zone" else ""
    if kind is INSTANCE:
        return Found(kind, str(item.name), zone) if item.labels.get(CLUSTER_LABEL) == spec.name else None
    return Found(kind, str(item.name), zone, "" if item.description == mark(spec.name) else NOT_OURS)


def _of_kind(spec: Spec, kind: Kind, item: Message, zone: str, own: Collection[str]) -> Found | None:
    name = str(item.name)
    if item.description == mark(spec.name):
        return Found(kind, name, zone)
    if name in names_of(spec, kind):
        return Found(kind, name, zone, NOT_OURS)
    inside = (
        kind in {FIREWALL, ROUTE, ROUTER, SUBNET} and last(item.network) in own and not name.startswith(COMES_ALONG)
    )
    return Found(kind, name, zone, IN_OUR_NETWORK) if inside else None


def _named(api: Api, spec: Spec) -> list[tuple[Kind, str, str]]:
    """Return every name that khw gives, with its kind and its zone."""
    machines = [(INSTANCE, name, zone) for name, zone in sorted(zones_of(spec, api.gcp).items())]
    rest = [
        (kind, name, zone)
        for kind in USERS
        if kind not in {INSTANCE, DISK}
        for name in sorted(names_of(spec, kind))
        for zone in (api.gcp.places if kind.scope == "zone" else ("",))
    ]
    return [*machines, *rest]


def names_of(spec: Spec, kind: Kind) -> set[str]:
    """Return the names that khw gives resources of this kind."""
    name = spec.network.name
    door = ("allow-ssh", "allow-bastion", "deny-ssh") if spec.private_nodes else ("allow-nodeports",)
    firewalls = ("allow-internal", "allow-external", *door, "allow-health-check", "allow-nodes")
    return {
        NETWORK: {name},
        ADDRESS: {name, nat_name(spec)} if spec.private_nodes else {name},
        ROUTER: {router_name(spec)} if spec.private_nodes else set(),
        SUBNET: {spec.network.subnet},
        FIREWALL: {f"{name}-{suffix}" for suffix in firewalls},
        GROUP: {f"{name}-controllers"},
        INSTANCE: {machine.name for machine in spec.planned},
        ROUTE: {route_name(str(machine.pod_cidr)) for machine in spec.planned if machine.pod_cidr},
    }.get(kind, {f"{name}-api"})


def remove(api: Api, row: Found) -> float:
    """Delete a resource and wait until it is gone; return the seconds. One that is not there is no error."""
    began = time.monotonic()
    doing = f"deleting {row.kind.name} {row.name}"
    request = {**api.place(row.kind, row.zone), row.kind.field: row.name}
    with explained(doing, api.gcp):
        try:
            operation = begin(api, row.kind.client, "delete_unary", request, doing)
        except refusals.NotFound:
            return time.monotonic() - began
    finish(api, operation, doing)
    return time.monotonic() - began
