"""Machines over several zones: each role in turn, everything else follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from khw.cluster.spec import Gcp, Pool
from khw.errors import DiffersError
from khw.inventory.gcp.kinds import GROUP
from khw.inventory.gcp.zones import zones_of

if TYPE_CHECKING:
    from typing import Any

    from ..conftest import Lab

ZONES = ("us-west1-a", "us-west1-b", "us-west1-c")


def spread(lab: Lab, zones: tuple[str, ...] = ZONES) -> dict[str, Any]:
    return {
        "gcp": Gcp(project="khw-unit", endpoint=lab.endpoint, credentials="anonymous", zones=zones),
        "controllers": Pool(name="controller", first_address="10.240.0.10", count=3),
        "workers": Pool(name="worker", first_address="10.240.0.20", count=2),
    }


WANTED = {
    "controller-0": "us-west1-a",
    "controller-1": "us-west1-b",
    "controller-2": "us-west1-c",
    "worker-0": "us-west1-a",
    "worker-1": "us-west1-b",
}


def test_controllers_stand_in_three_zones_with_a_group_in_each(lab: Lab) -> None:
    provider = lab.provider(**spread(lab))
    assert {node.name: node.zone for node in provider.foresee().nodes} == WANTED
    provider.ensure_compute()
    cluster = provider.discover()
    assert {node.name: node.zone for node in cluster.nodes} == WANTED
    provider.ensure_load_balancer(cluster)
    assert [len(lab.api.list(GROUP, zone)) for zone in ZONES] == [1, 1, 1]
    assert not [row for row in provider.ensure_load_balancer(cluster) if row.changed]
    assert lab.backend.network
    assert lab.backend.network.load_balancers[0].machines == ("controller-0", "controller-1", "controller-2")
    assert len([row for row in provider.destroy() if row.resource.startswith("instance-group:")]) == 3
    assert provider.leftovers() == []
    assert lab.project.state.entries == {}


def test_a_machine_in_another_zone_than_the_file_now_says_is_named_and_none_made_beside_it(lab: Lab) -> None:
    lab.provider(**spread(lab)).ensure_compute()
    moved = lab.provider(**spread(lab, ("us-west1-b", "us-west1-a", "us-west1-c")))
    with pytest.raises(DiffersError, match="controller-0 exists and differs: zone is us-west1-a, expected us-west1-b"):
        moved.ensure_compute()


def test_lists_that_lag_hide_no_machine_of_any_zone(lab: Lab) -> None:
    provider = lab.provider(**spread(lab))
    lab.project.faults.add("stale-lists", seconds=60.0)
    provider.ensure_compute()
    assert {node.name: node.zone for node in provider.discover().nodes} == WANTED
    provider.destroy()
    assert lab.backend.specs == {}


def test_one_zone_is_as_it_was(lab: Lab) -> None:
    spec = lab.spec()
    assert spec.gcp
    assert set(zones_of(spec, spec.gcp).values()) == {"us-west1-c"}
