from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from observations import A_RUN, LANES, Clock, result

from khw.diagrams.gantt import gantt
from khw.engine.events import Discovered, PhaseStarted, PhaseWaits, RunStarted
from khw.engine.report import OPERATOR
from khw.errors import UsageError
from khw.history import timeline
from khw.history.critical import critical_path
from khw.history.journal import Journal
from khw.history.runs import CUT_OFF

if TYPE_CHECKING:
    from pathlib import Path

    from khw.engine.events import Event
    from khw.history.timeline import Timeline

Timed = tuple[float, "Event"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    it = Clock()
    monkeypatch.setattr("khw.history.journal.time.monotonic", it.monotonic)
    return it


def run(directory: Path, clock: Clock, *events: Timed) -> Timeline:
    journal = Journal(directory, "1", "run")
    phases = tuple(dict.fromkeys(phase for lane in LANES.values() for phase in lane))
    journal(RunStarted("1", tuple(LANES), phases, LANES))
    for moment, event in events:
        clock.now = moment
        journal(event)
    journal.close()
    return timeline.read(directory)


def test_a_run_is_told_with_its_waits_its_changes_and_what_it_cost(tmp_path: Path, clock: Clock) -> None:
    it = run(tmp_path, clock, *A_RUN)
    assert (it.exit_code, it.seconds, it.round_trips) == (0, 32.0, {"controller-0": 7})
    assert (it.bytes_sent, it.bytes_relayed) == ({"controller-0": 1_000_000}, {"worker-0": 2_500_000})
    (worker,) = it.of("worker-0")
    (wait,) = worker.waits
    assert (wait.awaited, wait.holders) == ("etcd", ("controller-0",))
    assert (round(wait.began, 1), round(wait.ended, 1)) == (10.1, 20.1)
    (made,) = it.made
    assert (made.resource, made.action) == ("unit:etcd.service", "started")


def test_the_critical_path_goes_back_through_the_gates(tmp_path: Path, clock: Clock) -> None:
    path = critical_path(run(tmp_path, clock, *A_RUN))
    assert [(part.host, part.phase, round(part.seconds)) for part in path] == [
        (OPERATOR, "compute", 10),
        (OPERATOR, "discovery", 0),
        ("controller-0", "etcd", 10),
        ("worker-0", "workers", 10),
        (OPERATOR, "smoke", 2),
    ]
    assert path[3].after == "etcd on controller-0"
    assert path[0].after == ""


def test_the_seconds_in_which_the_cloud_is_asked_are_no_gap(tmp_path: Path, clock: Clock) -> None:
    it = run(tmp_path, clock, *A_RUN)
    asked = next(bar for bar in it.of(OPERATOR) if bar.phase == timeline.DISCOVERY)
    assert (asked.started, asked.ended, asked.outcome) == (10.0, 10.1, "ok")
    assert "the cloud is asked where the machines are" in gantt(it)


def test_a_run_of_some_hosts_has_a_lane_for_the_asking_too(tmp_path: Path, clock: Clock) -> None:
    journal = Journal(tmp_path, "1", "run --limit worker-0")
    journal(RunStarted("1", ("worker-0",), ("workers",), {"worker-0": ("workers",)}))
    journal(Discovered(OPERATOR, 0.0, 2.0))
    journal(result("worker-0", "workers", 2.0, 5.0))
    journal.close()
    it = timeline.read(tmp_path)
    assert it.hosts == (OPERATOR, "worker-0")
    assert [part.phase for part in critical_path(it)] == [timeline.DISCOVERY, "workers"]
    assert gantt(it)


def test_a_killed_run_ends_at_its_last_word(tmp_path: Path, clock: Clock) -> None:
    it = run(tmp_path, clock, *A_RUN[:8], (25.0, PhaseStarted("worker-0", "workers")))
    assert it.exit_code is None
    (cut,) = it.of("worker-0")
    assert (cut.outcome, round(cut.ended)) == (CUT_OFF, 25)


def test_a_wait_for_something_that_is_no_phase_stays_on_its_host(tmp_path: Path, clock: Clock) -> None:
    turn: list[Timed] = [(14.0, PhaseWaits("controller-0", "etcd", "its turn: controller-1 has it"))]
    path = critical_path(run(tmp_path, clock, *A_RUN[:7], *turn, *A_RUN[7:]))
    assert ("controller-0", "etcd") in {(part.host, part.phase) for part in path}


def test_a_run_without_anything_has_no_path(tmp_path: Path, clock: Clock) -> None:
    assert critical_path(run(tmp_path, clock)) == ()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run yet"):
        timeline.read(tmp_path)
    with pytest.raises(UsageError, match="there is no run '7'"):
        timeline.read(tmp_path, "7")


@pytest.mark.parametrize("length", range(200, 2200, 50))
def test_a_journal_cut_off_anywhere_is_told_as_far_as_it_goes(tmp_path: Path, clock: Clock, length: int) -> None:
    run(tmp_path, clock, *A_RUN)
    path = tmp_path / "1.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    if b"\n" in whole[:length]:
        critical_path(timeline.read(tmp_path))
