"""What a cluster costs: an estimate that says what it is, from which prices, and what it does not know."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from khw.cluster.spec import Gcp, Pool, Spec
from khw.inventory.gcp.cost import estimate


def spec(region: str = "us-west1", *, count: int = 3, endpoint: str | None = None, **pool: object) -> Spec:
    first = {"name": "worker", "first_address": IPv4Address("10.240.0.20"), "count": count, **pool}
    return Spec(gcp=Gcp(project="p", region=region, zone=f"{region}-a", endpoint=endpoint), workers=Pool(**first))


def test_the_guides_cluster_by_hand() -> None:
    cost = estimate(spec())
    assert cost is not None
    machines = 6 * 0.06701142
    disks = 6 * 200 * 0.04 / 730
    assert cost.an_hour == pytest.approx(machines + disks + 6 * 0.005 + 0.025)
    assert str(cost).startswith(
        "cost: about $0.52 an hour, $382 a month, as long as it is there: an estimate from list"
    )
    assert "2026-08-20 for us-west1, without tax, discounts and traffic" in str(cost)


def test_a_larger_machine_costs_its_multiple() -> None:
    small, large = estimate(spec(machine_type="e2-standard-2")), estimate(spec(machine_type="e2-standard-8"))
    assert small
    assert large
    assert large.an_hour - small.an_hour == pytest.approx(3 * 3 * 0.06701142)


def test_what_has_no_price_is_named_and_not_guessed() -> None:
    cost = estimate(spec(machine_type="c4-standard-4"))
    assert cost
    assert cost.unknown == ("machine c4-standard-4",)
    assert str(cost).endswith("no price is known here: machine c4-standard-4")
    elsewhere = estimate(spec("mars-north1"))
    assert elsewhere
    assert elsewhere.unknown == ("machine e2-standard-2", "GB of disk")


def test_the_lab_is_free_and_says_what_google_would_cost() -> None:
    cost = estimate(spec(endpoint="http://127.0.0.1:1"))
    assert str(cost).startswith("this is the lab, and free; on Google Cloud it would cost about $0.52 an hour")


def test_data_says_that_it_is_an_estimate() -> None:
    cost = estimate(spec())
    assert cost
    data = cost.as_dict()
    assert (data["is_estimate"], data["date"], data["an_hour"]) == (True, "2026-08-20", 0.5228)


def test_machines_of_ones_own_have_no_price() -> None:
    assert estimate(Spec(provider="static")) is None
