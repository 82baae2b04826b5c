"""
What a run will ask of the project, as far as the cluster file says: so that all of it can be asked at once.

What is missing here is asked when its turn comes; what is too much is a request for nothing. A test holds it against
what a run does ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.cluster.spec import Role
from khw.inventory.gcp import discovery, preflight
from khw.inventory.gcp.destroy import names_of
from khw.inventory.gcp.kinds import (
    ADDRESS,
    BACKEND,
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
from khw.inventory.gcp.machine import CLUSTER_LABEL
from khw.inventory.gcp.zones import zones_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from khw.cluster.spec import Spec
    from khw.inventory.gcp.clients import Api

# What each phase compares, by kind; a firewall rule belongs to the phase that makes it.
COMPARED: dict[str, tuple[Kind, ...]] = {
    "compute": (NETWORK, ADDRESS, ROUTER, SUBNET, FIREWALL, INSTANCE),
    "load-balancer": (FIREWALL, GROUP, GROUP, HEALTH_CHECK, BACKEND, FORWARDING_RULE),  # the group's members, too
    "routes": (ROUTE,),
}
LATE = ("-allow-health-check", "-allow-nodes")  # the load balancer's rules, by the end of their names


def readings(api: Api, spec: Spec, phases: Collection[str]) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Give every reading of discovery and of these phases, as often as it will be asked."""
    yield from discovery.expected(api, spec)
    if "prerequisites" in phases:
        yield from preflight.expected(api, spec)
    if "compute" in phases:
        yield api.labelled_reading(CLUSTER_LABEL, spec.name)
    for phase, kinds in COMPARED.items():
        if phase in phases:
            for kind in kinds:
                yield from _compared(api, spec, phase, kind)
    if "load-balancer" in phases:
        for name, zone in _placed(api, spec, GROUP):
            yield GROUP.client, "list_instances", {**api.place(GROUP, zone), GROUP.field: name}


def _compared(api: Api, spec: Spec, phase: str, kind: Kind) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    for name, zone in _placed(api, spec, kind):
        if kind is not FIREWALL or name.endswith(LATE) == (phase == "load-balancer"):
            yield kind.client, "get", {**api.place(kind, zone), kind.field: name}


def _placed(api: Api, spec: Spec, kind: Kind) -> list[tuple[str, str]]:
    """Return the names of a kind, each with its zone; '' where there is none."""
    zones = zones_of(spec, api.gcp)
    if kind is INSTANCE:
        return sorted(zones.items())
    places = sorted({zones[row.name] for row in spec.planned if row.role is Role.CONTROLLER}) if kind is GROUP else [""]
    return [(name, zone) for name in sorted(names_of(spec, kind)) for zone in places]
