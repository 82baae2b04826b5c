from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from khw.converge.changes import Action, Change
from khw.converge.resources import Binary, File, Unit
from khw.engine.events import GateOpened, PhaseEnded, PhaseStarted, PhaseWaits, ResourceDone, RunEnded, RunStarted
from khw.engine.report import Outcome, PhaseResult
from khw.errors import KhwError, StepError
from khw.history.journal import KEPT, Journal, input_hash, new_run_id
from khw.history.runs import last_run
from khw.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from khw.engine.events import Event
    from khw.history.runs import PastRun

LANES = {"worker-0": ("certificates", "workers"), "worker-1": ("certificates", "workers")}


def started(run_id: str = "1", lanes: dict[str, tuple[str, ...]] | None = None) -> RunStarted:
    lanes = LANES if lanes is None else lanes
    return RunStarted(run_id, tuple(lanes), ("certificates", "workers"), lanes)


def ended(host: str, phase: str, outcome: Outcome = Outcome.CHANGED) -> PhaseEnded:
    error = None if outcome.good else StepError("kubelet.service did not start")
    return PhaseEnded(PhaseResult(host=host, phase=phase, outcome=outcome, started=0, ended=1, error=error))


def write(directory: Path, run_id: str, *events: Event) -> None:
    journal = Journal(directory, run_id, "run --limit x")
    for event in events:
        journal(event)
    journal.close()


def read(directory: Path) -> PastRun:
    last = last_run(directory)
    assert last is not None
    return last


def stops(last: PastRun) -> dict[str, tuple[str, str, str]]:
    return {host: (stop.phase, stop.state, stop.why) for host, stop in last.stops.items()}


def test_before_the_first_run_there_is_none(tmp_path: Path) -> None:
    assert last_run(tmp_path / "runs") is None


def test_a_failed_host_is_undone_from_its_phase_on_with_the_reason(tmp_path: Path) -> None:
    events = [ended(host, "certificates") for host in LANES]
    events += [ended("worker-0", "workers"), ended("worker-1", "workers", Outcome.FAILED)]
    write(tmp_path, "1", started(), *events, RunEnded("1", 3, 2.0))
    last = read(tmp_path)
    assert stops(last) == {"worker-1": ("workers", "failed", "kubelet.service did not start")}
    assert (last.exit_code, last.what, last.process) == (3, "run --limit x", os.getpid())


def test_a_killed_run_leaves_every_host_undone_where_it_was(tmp_path: Path) -> None:
    write(
        tmp_path,
        "1",
        started(lanes=LANES | {"worker-2": ("workers",), "worker-3": ("certificates",)}),
        ended("worker-0", "certificates"),
        PhaseStarted("worker-0", "workers"),
        PhaseWaits("worker-2", "workers", "etcd on any controller"),
        ended("worker-3", "certificates"),
    )
    with (tmp_path / "1.jsonl").open("a") as file:
        file.write('{"event": "end", "host": "wor')
    last = read(tmp_path)
    assert last.exit_code is None
    assert stops(last) == {
        "worker-0": ("workers", "cut off", "in the middle of this phase"),
        "worker-1": ("certificates", "not begun", ""),
        "worker-2": ("workers", "cut off", "while it waited for etcd on any controller"),
    }, "worker-3 was through"


@pytest.mark.parametrize("length", range(0, 1200, 7))
def test_a_journal_cut_off_anywhere_is_read(tmp_path: Path, length: int) -> None:
    write(tmp_path, "1", started(), ended("worker-1", "certificates", Outcome.FAILED), RunEnded("1", 3, 1))
    write(tmp_path, "2", started("2"), *(ended(h, p) for h, ps in LANES.items() for p in ps), RunEnded("2", 0, 1))
    path = tmp_path / "2.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    last = read(tmp_path)
    if b"\n" not in whole[:length]:
        assert last.run_id == "1", "a run without its first line did nothing"
    else:
        undone = {(h, p) for h, ps in LANES.items() for p in ps} - last.done
        assert {(h, s.phase) for h, ss in last.todo.items() for s in ss} == undone


def test_a_host_whose_gate_opened_was_at_work_when_it_was_cut_off(tmp_path: Path) -> None:
    waits = PhaseWaits("worker-0", "workers", "etcd on any controller", "etcd", ("controller-0",))
    write(tmp_path, "1", started(lanes={"worker-0": ("workers",)}), waits, GateOpened("worker-0", "workers"))
    assert stops(read(tmp_path)) == {"worker-0": ("workers", "cut off", "in the middle of this phase")}


def test_what_an_earlier_run_left_undone_is_known_after_a_later_one_elsewhere(tmp_path: Path) -> None:
    write(
        tmp_path,
        "1",
        started(),
        *(ended(h, "certificates") for h in LANES),
        ended("worker-1", "workers", Outcome.FAILED),
    )
    write(tmp_path, "2", started("2", {"worker-0": ("workers",)}), ended("worker-0", "workers"), RunEnded("2", 0, 1))
    last = read(tmp_path)
    assert stops(last) == {}, "its own selection is done"
    (left,) = last.todo["worker-1"]
    assert (left.phase, left.state, left.run) == ("workers", "failed", "1")
    write(tmp_path, "3", started("3", {"worker-1": ("workers",)}), ended("worker-1", "workers"), RunEnded("3", 0, 1))
    assert read(tmp_path).todo == {}


def test_a_destroyed_cluster_has_nothing_undone(tmp_path: Path) -> None:
    write(tmp_path, "1", started(), ended("worker-0", "certificates", Outcome.FAILED))
    journal = Journal(tmp_path, "2", "destroy")
    journal.destroying()
    cut_off = read(tmp_path)
    assert (cut_off.destroy, cut_off.exit_code, cut_off.todo) == (True, None, {})
    journal.destroyed([])
    journal.close()
    assert read(tmp_path).exit_code == 0
    write(tmp_path, "3", started("3", {"worker-0": ("workers",)}), ended("worker-0", "workers"))
    assert read(tmp_path).todo == {}


def test_each_resource_has_its_input_its_result_and_its_seconds(tmp_path: Path) -> None:
    file = File(path="/x", content="a")
    change = Change(resource=file.id, action=Action.CREATED, seconds=0.25)
    write(tmp_path, "1", started(), ResourceDone("worker-0", "certificates", change, file))
    record = json.loads((tmp_path / "1.jsonl").read_text().splitlines()[1])
    assert (record["resource"], record["action"], record["seconds"]) == ("file:/x", "created", 0.25)
    assert record["input"] == input_hash(file, (tmp_path / "key").read_bytes())


def test_an_input_hash_changes_with_every_field_and_key_and_shows_no_secret() -> None:
    key = b"k" * 32
    file = File(path="/x", content=Secret(b"s3cret"))
    others = [
        File(path="/x", content=Secret(b"other")),
        File(path="/x", content=Secret(b"s3cret"), mode=0o600),
        File(path="/y", content=Secret(b"s3cret")),
        Unit(name="x", content="s3cret"),
        Binary(path="/x", artifact="etcd"),
    ]
    hashes = {input_hash(it, key) for it in (file, *others)} | {input_hash(file, b"j" * 32)}
    assert len(hashes) == 7
    assert input_hash(file, key) == input_hash(File(path="/x", content=Secret(b"s3cret")), key)


def test_journals_and_their_key_are_private(tmp_path: Path) -> None:
    write(tmp_path / "runs", "1", started())
    for path in (tmp_path / "runs").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "runs").stat().st_mode) == 0o700


def test_a_run_id_comes_after_all_others_whatever_the_clock_says(tmp_path: Path) -> None:
    (tmp_path / "29990101T000000.000000Z.jsonl").touch()
    assert new_run_id(tmp_path) == "29990101T000000.000001Z"


def test_old_journals_go_and_what_they_left_undone_stays(tmp_path: Path) -> None:
    write(tmp_path, "000", started("000"), ended("worker-1", "certificates", Outcome.FAILED))
    for number in range(1, KEPT + 10):
        run_id = f"{number:03}"
        write(tmp_path, run_id, started(run_id, {"worker-0": ("workers",)}), ended("worker-0", "workers"))
    assert len(list(tmp_path.glob("*.jsonl"))) == KEPT
    assert read(tmp_path).todo["worker-1"][0].run == "000"


def test_a_full_disk_stops_a_run_before_it_does_anything_and_not_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    journal = Journal(tmp_path, "1")
    real = os.write
    monkeypatch.setattr("os.write", full)
    with pytest.raises(KhwError, match="No space left"):
        journal(started())
    monkeypatch.setattr("os.write", real)
    journal(started())
    monkeypatch.setattr("os.write", lambda file, line: real(file, line[:9]))  # half a line, and then room again
    journal(PhaseStarted("worker-0", "workers"))
    monkeypatch.setattr("os.write", full)
    journal(PhaseStarted("worker-0", "workers"))
    assert "No space left" in journal.lost
    monkeypatch.setattr("os.write", real)
    journal(ended("worker-0", "certificates"))
    journal.close()
    assert ("worker-0", "certificates") in read(tmp_path).done
