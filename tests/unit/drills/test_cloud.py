"""What drills do to a project and how it is made whole again, against the emulated API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from emulated import PROJECT, ZONE, Cloud, served
from fakes import FakeBackend
from google.cloud import compute_v1 as compute

from khw.cluster.spec import Gcp, Pool, Spec
from khw.drills import cloud
from khw.errors import DiffersError
from khw.inventory.gcp.kinds import FIREWALL, FORWARDING_RULE, ROUTE
from khw.inventory.gcp.provider import GcpProvider
from khw.inventory.gcp.wanted import mark

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "kubernetes-the-hard-way"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[tuple[GcpProvider, Cloud]]:
    """A project with everything that a run makes in it: one controller, one worker."""
    with served(tmp_path, FakeBackend()) as (clients, found):
        pools = {
            "controllers": Pool(name="controller", count=1, first_address=cast("Any", "10.240.0.10")),
            "workers": Pool(name="worker", count=1, first_address=cast("Any", "10.240.0.20")),
        }
        gcp = Gcp(project=PROJECT, endpoint=clients.endpoint, credentials="anonymous")
        provider = GcpProvider(Spec(gcp=gcp, **pools), KEY)
        cloud.make_whole(provider)
        yield provider, clients
        assert found == []


def missing(provider: GcpProvider) -> list[str]:
    """Return what a run would make."""
    cluster = provider.discover()
    looks = (
        provider.ensure_compute(check=True),
        provider.ensure_load_balancer(cluster, check=True),
        provider.ensure_routes(cluster, check=True),
    )
    return [change.resource for changes in looks for change in changes if change.changed]


def test_what_a_drill_takes_away_is_missed_and_made_again(project: tuple[GcpProvider, Cloud]) -> None:
    provider, _ = project
    for kind, name in (
        (FIREWALL, f"{NAME}-allow-internal"),
        (ROUTE, "kubernetes-route-10-200-0-0-24"),
        (FORWARDING_RULE, f"{NAME}-api"),
    ):
        cloud.delete(provider, kind, name)
        cloud.delete(provider, kind, name)  # it is gone already, as after a start that was killed
        assert missing(provider) == [f"{kind.name}:{name}"]
        cloud.make_whole(provider)
        assert missing(provider) == []


def test_a_machine_that_is_switched_off_is_switched_on(project: tuple[GcpProvider, Cloud]) -> None:
    provider, clients = project

    def status() -> str:
        return clients.instances.get(project=PROJECT, zone=ZONE, instance="controller-0").status

    cloud.stop(provider, "controller-0")
    assert status() == "TERMINATED"
    cloud.make_whole(provider)
    assert status() == "RUNNING"


def test_rules_and_routes_of_ours_that_somebody_changed_are_made_anew(project: tuple[GcpProvider, Cloud]) -> None:
    provider, clients = project
    rule, route = f"{NAME}-allow-internal", "kubernetes-route-10-200-0-0-24"
    cloud.delete(provider, FIREWALL, rule)
    cloud.delete(provider, ROUTE, route)
    clients.done(
        clients.firewalls.insert_unary(
            project=PROJECT,
            firewall_resource=compute.Firewall(
                name=rule,
                description=mark(NAME),
                network=f"global/networks/{NAME}",
                source_ranges=["192.0.2.0/24"],
                allowed=[compute.Allowed(I_p_protocol="tcp")],
            ),
        )
    )
    clients.done(
        clients.routes.insert_unary(
            project=PROJECT,
            route_resource=compute.Route(
                name=route,
                description=mark(NAME),
                network=f"global/networks/{NAME}",
                dest_range="10.200.0.0/24",
                next_hop_ip="10.240.0.10",
                priority=1000,
            ),
        )
    )
    with pytest.raises(DiffersError):
        provider.ensure_compute()
    cloud.make_whole(provider)
    assert missing(provider) == []


def test_a_machine_that_differs_is_not_deleted(project: tuple[GcpProvider, Cloud]) -> None:
    provider, clients = project
    before = clients.instances.get(project=PROJECT, zone=ZONE, instance="worker-0")
    other = GcpProvider(provider.spec, KEY.replace("GKJl", "XXXX"))
    with pytest.raises(DiffersError):
        cloud.make_whole(other)
    assert clients.instances.get(project=PROJECT, zone=ZONE, instance="worker-0").id == before.id
