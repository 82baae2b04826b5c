from __future__ import annotations

from typing import TYPE_CHECKING

from khw.changes import Action, Change
from khw.errors import StepError
from khw.events import PhaseEnded, PhaseStarted, ResourceDone, RunEnded, RunStarted
from khw.journal import Journal, last_run
from khw.report import Outcome, PhaseResult

if TYPE_CHECKING:
    from pathlib import Path

STARTED = RunStarted("1", ("worker-0", "worker-1"), ("certificates", "workers"))


def ended(host: str, phase: str, outcome: Outcome = Outcome.CHANGED) -> PhaseEnded:
    error = None if outcome.good else StepError("kubelet.service did not start")
    return PhaseEnded(PhaseResult(host=host, phase=phase, outcome=outcome, started=0, ended=1, error=error))


def test_before_the_first_run_there_is_none(tmp_path: Path) -> None:
    assert last_run(tmp_path / "runs") is None


def test_a_failed_host_is_unfinished_at_its_phase_with_the_reason(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "1")
    for event in (
        STARTED,
        PhaseStarted("worker-0", "certificates"),
        ResourceDone("worker-0", "certificates", Change(resource="file:/x", action=Action.CREATED)),
        ended("worker-0", "certificates"),
        ended("worker-0", "workers"),
        ended("worker-1", "certificates"),
        ended("worker-1", "workers", Outcome.FAILED),
        RunEnded("1", 3, 2.0),
    ):
        journal(event)
    journal.close()
    last = last_run(tmp_path)
    assert last is not None
    assert last.unfinished == {"worker-1": ("workers", "kubelet.service did not start")}


def test_a_killed_run_leaves_every_host_unfinished_where_it_was(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "1")
    for event in (STARTED, ended("worker-0", "certificates"), PhaseStarted("worker-0", "workers")):
        journal(event)
    journal.close()
    with (tmp_path / "1.jsonl").open("a") as file:
        file.write('{"event": "end", "host": "wor')
    last = last_run(tmp_path)
    assert last is not None
    assert last.unfinished == {"worker-0": ("workers", "cut off"), "worker-1": ("certificates", "not begun")}


def test_the_newest_run_counts(tmp_path: Path) -> None:
    for run_id, outcome in (("1", Outcome.FAILED), ("2", Outcome.OK)):
        journal = Journal(tmp_path, run_id)
        for event in (RunStarted(run_id, ("a",), ("etcd",)), ended("a", "etcd", outcome), RunEnded(run_id, 0, 1)):
            journal(event)
        journal.close()
    last = last_run(tmp_path)
    assert last is not None
    assert last.unfinished == {}
