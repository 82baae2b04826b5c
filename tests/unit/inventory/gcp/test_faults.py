"""Every fault of the API ends in a converging retry or in an error that names it; and destroy leaves nothing, ever."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from khw.cluster.spec import Timeouts
from khw.errors import OperationError, ProviderError
from khw.inventory.gcp import patience as gcp_patience
from khw.inventory.gcp.operations import finish
from khw.lab.api.faults import SORTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.inventory.gcp.provider import GcpProvider

    from ..conftest import Lab

HASTE = Timeouts(boot=0.3, cloud=20)
SHORT = Timeouts(boot=0.3, cloud=0.6)

PASSING = {
    "rate-limit": {"on": "*", "times": 6, "seconds": 0.1},
    "rate-limit-403": {"on": "*", "times": 4},
    "unavailable": {"on": "*", "times": 4},
    "internal": {"on": "*", "times": 4},
    "bad-gateway": {"on": "*", "times": 4},
    "silence": {"on": "*", "times": 3, "seconds": 0.2},
    "lost-answer": {"on": "*", "times": 5},
    "slow-operation": {"on": "*", "times": 3, "seconds": 0.3},
    "stale-lists": {"on": "*", "seconds": 30.0},
}
"""What khw waits for, or sees through: with these the run is through."""

TOLD = {
    "quota": (ProviderError, r"creating instance \S+: Quota 'CPUS' exceeded.*\(quotaExceeded\)", "more quota"),
    "quota-late": (OperationError, r"creating instance \S+: Quota 'CPUS' exceeded.*\(QUOTA_EXCEEDED\)", "more quota"),
    "exhausted": (OperationError, r"creating instance \S+: .*\(ZONE_RESOURCE_POOL_EXHAUSTED\)", "another zone"),
    "operation-error": (OperationError, r"creating instance \S+: Internal error.*\(INTERNAL_ERROR\)", "run khw again"),
}
"""What does not pass: the error, and the way out."""

BEFOREHAND = ("api-disabled", "forbidden")
"""What chapter 1 tells: test_gcp_preflight.py."""

LASTING = {
    "rate-limit": "asks more of the API than it may: Quota exceeded for quota metric 'Queries'",
    "rate-limit-403": "asks more of the API than it may: Rate Limit Exceeded",
    "unavailable": "the API failed: The service is currently unavailable",
    "internal": "the API failed: Internal error",
    "bad-gateway": "the API failed: 502 Server Error",
    "silence": "breaks off its answers|did not answer in time",
    "lost-answer": "breaks off its answers",
    "slow-operation": "did not end within 1 s",
}
"""What is waited for, and does not pass in time."""


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcp_patience, "FIRST_PAUSE", 0.02)


def fault(lab: Lab, sort: str, **given: Any) -> None:
    lab.project.faults.add(sort, **given)


def everything(provider: GcpProvider) -> None:
    """Make all that the provider makes, as a run does."""
    provider.ensure_compute()
    cluster = provider.discover()
    assert not [node.unreachable for node in cluster.nodes if node.unreachable]
    provider.ensure_load_balancer(cluster)
    provider.ensure_routes(cluster)


def nothing_is_left(lab: Lab) -> None:
    lab.project.faults.clear()
    provider = lab.provider(timeouts=HASTE)
    provider.destroy()
    assert provider.leftovers() == []
    assert lab.project.state.entries == {}
    assert lab.backend.specs == {}


@pytest.fixture
def clean(lab: Lab) -> Iterator[Lab]:
    yield lab
    nothing_is_left(lab)


def test_every_sort_of_fault_is_met_here() -> None:
    assert set(SORTS) == {*PASSING, *TOLD, "never-boots", *BEFOREHAND}
    assert set(LASTING) == set(PASSING) - {"stale-lists"}


@pytest.mark.parametrize("sort", PASSING)
def test_what_passes_is_waited_for_and_all_is_made_once(clean: Lab, sort: str) -> None:
    fault(clean, sort, **PASSING[sort])
    everything(clean.provider(timeouts=HASTE))
    assert [row.is_over or not row.times for row in clean.project.faults.rows()] == [True]
    assert sum(line.startswith("create ") for line in clean.backend.log) == 3
    changes = clean.provider(timeouts=HASTE).ensure_compute()
    assert not [change for change in changes if change.changed]


@pytest.mark.parametrize("on", ["*.insert", "*.wait", "*.get", "*.aggregatedList", "instanceGroups.addInstances"])
def test_an_answer_that_is_lost_makes_nothing_twice(clean: Lab, on: str) -> None:
    fault(clean, "lost-answer", on=on, times=4)
    everything(clean.provider(timeouts=HASTE))
    assert clean.project.faults.rows()[0].met
    assert sum(line.startswith("create ") for line in clean.backend.log) == 3


@pytest.mark.parametrize("sort", TOLD)
def test_what_does_not_pass_is_named_and_a_later_run_makes_the_rest(clean: Lab, sort: str) -> None:
    error, message, hint = TOLD[sort]
    fault(clean, sort, on="instances.insert")
    with pytest.raises(error, match=message) as caught:
        clean.provider(timeouts=HASTE).ensure_compute()
    assert hint in caught.value.hint
    assert len(clean.backend.specs) == 2, "the others are made"
    everything(clean.provider(timeouts=HASTE))
    assert len(clean.backend.specs) == 3


@pytest.mark.parametrize("sort", LASTING)
def test_an_api_that_does_not_get_well_is_named_in_time_and_a_later_run_goes_on(clean: Lab, sort: str) -> None:
    fault(clean, sort, on="*.insert", times=0, seconds=0.1 if sort != "slow-operation" else 2)
    with pytest.raises(ProviderError, match=LASTING[sort]) as caught:
        clean.provider(timeouts=SHORT).ensure_compute()
    assert "run khw again" in caught.value.hint or "khw lab status" in caught.value.hint
    clean.project.faults.clear()
    clean.provider(timeouts=HASTE).ensure_compute()


def test_a_machine_that_never_boots_is_named_and_the_others_go_on(clean: Lab) -> None:
    fault(clean, "never-boots", name="worker-1")
    provider = clean.provider(timeouts=HASTE)
    provider.ensure_compute()
    cluster = provider.discover()
    assert [node.name for node in cluster.nodes if node.unreachable] == ["worker-1"]
    assert "get-serial-port-output worker-1" in cluster.node("worker-1").unreachable
    reset = clean.api.start(
        "InstancesClient", "reset_unary", {"project": "khw-unit", "zone": "us-west1-c", "instance": "worker-1"}
    )
    finish(clean.api, reset, "resetting worker-1")
    assert not provider.discover().node("worker-1").unreachable


@pytest.mark.parametrize("sort", [*PASSING, "operation-error"])
def test_destroy_under_any_fault_ends_and_one_more_leaves_nothing(clean: Lab, sort: str) -> None:
    everything(clean.provider(timeouts=HASTE))
    given = {**PASSING.get(sort, {}), "on": "*.list" if sort == "stale-lists" else "*.delete", "times": 0}
    fault(clean, sort, **given)
    with contextlib.suppress(ProviderError):
        clean.provider(timeouts=SHORT).destroy()


def test_lists_that_lag_hide_nothing_from_destroy_and_show_nothing_that_is_gone(clean: Lab) -> None:
    fault(clean, "stale-lists", seconds=60.0)
    provider = clean.provider(timeouts=HASTE)
    everything(provider)
    assert clean.api.labelled("khw-cluster", "unit") == []
    assert len(provider.leftovers()) == len(
        [e for e in clean.project.state.entries.values() if "owner" not in e.hidden]
    )
    provider.destroy()
    assert provider.leftovers() == []


def test_a_cluster_is_found_that_the_list_does_not_show_yet(clean: Lab) -> None:
    provider = clean.provider(timeouts=HASTE)
    fault(clean, "stale-lists", seconds=60.0)
    provider.ensure_compute()
    assert not [node.unreachable for node in provider.discover().nodes if node.unreachable]
    assert [node.exists for node in provider.foresee().nodes] == [True] * 3
