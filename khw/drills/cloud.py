"""What drills do to a project, and how it is undone: deleting what khw made, stopping and starting machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.errors import DiffersError
from khw.inventory.gcp.destroy import Found, remove
from khw.inventory.gcp.kinds import BACKEND, FIREWALL, FORWARDING_RULE, HEALTH_CHECK, INSTANCE, ROUTE
from khw.inventory.gcp.machine import CLUSTER_LABEL
from khw.inventory.gcp.operations import begin, finish, last

if TYPE_CHECKING:
    from collections.abc import Callable

    from khw.inventory.gcp.kinds import Kind
    from khw.inventory.gcp.provider import GcpProvider

BALANCER = (FORWARDING_RULE, BACKEND, HEALTH_CHECK)  # each is used by the one before it
RENEWED = {kind.name: kind for kind in (FIREWALL, ROUTE)}
TRIES = 8


def delete(provider: GcpProvider, kind: Kind, name: str) -> None:
    """Delete a resource, and wait until it is gone; one that is not there is no error."""
    remove(provider.api, Found(kind, name))


def stop(provider: GcpProvider, machine: str) -> None:
    """Switch a machine off."""
    _switch(provider, machine, "stop_unary", "stopping")


def start_stopped(provider: GcpProvider) -> None:
    """Switch on every machine of the cluster that is off."""
    for row in provider.api.labelled(CLUSTER_LABEL, provider.spec.name):
        if row.status in {"TERMINATED", "STOPPED", "STOPPING"}:
            _switch(provider, str(row.name), "start_unary", "starting")


def make_whole(provider: GcpProvider) -> None:
    """
    Have machines, network, load balancer and routes as the cluster file says, whatever was done to them.

    khw never overwrites what differs; here rules, routes and parts of the load balancer that are ours by name and
    were changed are made anew.
    """
    start_stopped(provider)
    _insist(provider, provider.ensure_compute)
    cluster = provider.discover()
    _insist(provider, lambda: provider.ensure_load_balancer(cluster))
    _insist(provider, lambda: provider.ensure_routes(cluster))


def _insist(provider: GcpProvider, ensure: Callable[[], object]) -> None:
    for _ in range(TRIES):
        try:
            ensure()
        except DiffersError as error:
            if not _cleared(provider, error.resources):
                raise
        else:
            return


def _cleared(provider: GcpProvider, resources: tuple[str, ...]) -> bool:
    """Delete what differs; False if there is something that is not for us to delete (a machine, a network)."""
    found = False
    for resource in resources:
        kind, _, name = resource.partition(":")
        if kind in RENEWED:
            delete(provider, RENEWED[kind], name)
            found = True
        elif kind in {row.name for row in BALANCER}:
            for row in BALANCER:
                delete(provider, row, name)
            found = True
    return found


def _switch(provider: GcpProvider, machine: str, method: str, doing: str) -> None:
    api = provider.api
    rows = api.labelled(CLUSTER_LABEL, provider.spec.name)
    zone = next((last(row.zone) for row in rows if row.name == machine), api.gcp.zone)
    what = f"{doing} {machine}"
    finish(api, begin(api, INSTANCE.client, method, {**api.place(INSTANCE, zone), "instance": machine}, what), what)
