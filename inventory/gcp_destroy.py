"""Chapter 14: everything that chapters 3, 8 and 11 made, removed in an order that works, again and again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from khw.converge.changes import Action, Change
from khw.inventory.gcp_compute import CLUSTER_LABEL
from khw.inventory.gcp_errors import explained
from khw.inventory.gcp_kinds import (
    ADDRESS,
    BACKEND,
    FIREWALL,
    FORWARDING_RULE,
    GROUP,
    HEALTH_CHECK,
    INSTANCE,
    NETWORK,
    ROUTE,
    SUBNET,
    Kind,
)
from khw.inventory.gcp_library import refusals
from khw.inventory.gcp_operations import Job, begin, finish, last, together
from khw.inventory.gcp_routes import route_name
from khw.inventory.gcp_wanted import mark

if TYPE_CHECKING:
    from khw.cluster.model import Spec
    from khw.inventory.gcp_clients import Api, Message

# What must be gone before a kind can go: whatever uses it.
USERS: dict[Kind, tuple[Kind, ...]] = {
    FORWARDING_RULE: (),
    ROUTE: (),
    FIREWALL: (),
    INSTANCE: (),
    BACKEND: (FORWARDING_RULE,),
    ADDRESS: (FORWARDING_RULE,),
    HEALTH_CHECK: (BACKEND,),
    GROUP: (BACKEND,),
    SUBNET: (INSTANCE, GROUP),
    NETWORK: (SUBNET, ROUTE, FIREWALL, GROUP, INSTANCE),
}


@dataclass(frozen=True, slots=True)
class Found:
    """A resource of the cluster that is there."""

    kind: Kind
    name: str
    zone: str = ""
    ours: bool = True

    @property
    def id(self) -> str:
        """What changes call it."""
        return f"{self.kind.name}:{self.name}"


def destroy(api: Api, spec: Spec, *, check: bool) -> list[Change]:
    """Remove all that is khw's of this cluster; each as soon as nothing uses it any more."""
    rows = [row for row in find(api, spec) if row.ours]
    seconds: dict[object, float] = {}
    if not check:
        jobs = [
            Job(row, partial(remove, api, row), tuple(user for user in rows if user.kind in USERS[row.kind]))
            for row in rows
        ]
        seconds = dict(together(api, jobs))
    return [
        Change(
            resource=row.id,
            action=Action.REMOVED,
            before="present",
            after="absent",
            seconds=seconds.get(row, 0.0),
        )
        for row in rows
    ]


def find(api: Api, spec: Spec) -> list[Found]:
    """
    Return what there is of the cluster, in the order of removal.

    Machines are found by label, in every zone; the other kinds by khw's mark, or by a name that chapters 3, 8 and 11
    give (then maybe somebody else's: not `ours`). What a list does not show is asked for by its name: lists may lag.
    """
    listed = _listed(api, spec)
    known = {(row.kind, row.name) for row in listed}
    names = [(kind, name) for kind in USERS for name in sorted(names_of(spec, kind)) if (kind, name) not in known]
    found = together(api, [Job(pair, partial(api.get, *pair)) for pair in names])
    unlisted = [_by_name(spec, kind, found[kind, name]) for kind, name in names if found[kind, name] is not None]
    order = list(USERS)
    return sorted([*listed, *filter(None, unlisted)], key=lambda row: order.index(row.kind))


def left(api: Api, spec: Spec) -> list[Found]:
    """Return what is left of the cluster: what a list shows and is no more does not count."""
    rows = find(api, spec)
    seen = together(api, [Job(row, partial(api.get, row.kind, row.name, row.zone)) for row in rows])
    return [row for row in rows if seen[row] is not None]


def _listed(api: Api, spec: Spec) -> list[Found]:
    machines = [Found(INSTANCE, str(row.name), last(row.zone)) for row in api.labelled(CLUSTER_LABEL, spec.name)]
    zones = sorted({api.gcp.zone, *(row.zone for row in machines)})
    places = [
        (kind, zone) for kind in USERS if kind is not INSTANCE for zone in (zones if kind.scope == "zone" else [""])
    ]
    jobs = [Job(place, partial(_of_kind, api, spec, *place)) for place in places]
    found = together(api, jobs)
    return [*machines, *(row for place in places for row in found[place])]


def _by_name(spec: Spec, kind: Kind, item: Message) -> Found | None:
    """Return what has one of our names; a machine is ours by its label alone."""
    zone = last(item.zone) if kind.scope == "zone" else ""
    if kind is INSTANCE:
        return Found(kind, str(item.name), zone) if item.labels.get(CLUSTER_LABEL) == spec.name else None
    return Found(kind, str(item.name), zone, ours=item.description == mark(spec.name))


def _of_kind(api: Api, spec: Spec, kind: Kind, zone: str) -> list[Found]:
    rows = []
    for item in api.list(kind, zone):
        ours = item.description == mark(spec.name)
        if ours or str(item.name) in names_of(spec, kind):
            rows.append(Found(kind, str(item.name), zone, ours))
    return rows


def names_of(spec: Spec, kind: Kind) -> set[str]:
    """Return the names that khw gives resources of this kind."""
    name = spec.network.name
    firewalls = ("allow-internal", "allow-external", "allow-nodeports", "allow-health-check", "allow-nodes")
    return {
        NETWORK: {name},
        ADDRESS: {name},
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
