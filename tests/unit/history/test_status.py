from __future__ import annotations

from dataclasses import replace

import pytest

from khw.history.runs import PastRun, Stop
from khw.history.status import State, first_undone, status_of

HOSTS = ("operator", "worker-0", "worker-1")
ORDER = ("certificates", "etcd", "workers", "smoke")
RUN = PastRun(
    run_id="20261123T140000.000000Z",
    what="run",
    process=1,
    phases=ORDER,
    lanes={"operator": ("smoke",), "worker-0": ("workers",), "worker-1": ("workers",)},
    exit_code=0,
    seconds=9,
)
STUCK = replace(RUN, todo={"worker-1": (Stop("workers", "failed", "disk full", RUN.run_id),)})
HOLDER = "another run holds this cluster: process 1, run"


@pytest.mark.parametrize(
    ("last", "holder", "state", "advice"),
    [
        (None, "", State.NONE, "khw run"),
        (RUN, "", State.OK, "khw verify"),
        (RUN, HOLDER, State.RUNNING, "khw status"),
        (replace(STUCK, exit_code=3), "", State.FAILED, "khw run --failed"),
        (replace(STUCK, exit_code=None), "", State.KILLED, "khw run --resume"),
        (replace(STUCK, exit_code=130), "", State.CANCELLED, "khw run --resume"),
        (replace(RUN, exit_code=130), "", State.CANCELLED, "khw verify"),
        (STUCK, "", State.OK, "khw run --failed"),  # an earlier run left worker-1
        (replace(RUN, destroy=True), "", State.DESTROYED, "khw run"),
        (replace(RUN, destroy=True, exit_code=None), "", State.KILLED, "khw destroy"),
        (replace(RUN, destroy=True, exit_code=1, left=("network x",)), "", State.FAILED, "khw destroy"),
    ],
)
def test_the_next_command_follows_from_the_last_run(
    last: PastRun | None, holder: str, state: State, advice: str
) -> None:
    found = status_of(last, holder, HOSTS, ORDER)
    assert (found.state, found.next) == (state, advice)


def test_each_host_has_its_row_with_the_run_that_left_it() -> None:
    found = status_of(STUCK, "", HOSTS, ORDER)
    assert [(row.host, row.state, row.phase) for row in found.hosts] == [
        ("operator", "through", ""),
        ("worker-0", "through", ""),
        ("worker-1", "failed", "workers"),
    ]
    assert found.as_dict()["hosts"][2]["why"] == "disk full"
    assert found.started == "2026-11-23T14:00:00+00:00"


def test_a_host_that_the_file_no_longer_asks_for_is_let_go() -> None:
    assert [row.host for row in status_of(STUCK, "", HOSTS[:2], ORDER).hosts] == ["operator", "worker-0"]


def test_a_host_is_taken_up_at_its_earliest_phase() -> None:
    stops = [Stop(phase, "failed", "", "1") for phase in ("workers", "certificates", "no longer a phase")]
    first = first_undone(stops, ORDER)
    assert first is not None
    assert first.phase == "certificates"
    assert first_undone(stops[2:], ORDER) is None
