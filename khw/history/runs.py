"""
What the journals say: the last run, where each host stopped and why, and what earlier runs left undone.

A reader of files that may end in the middle of a line: what cannot be read is taken as not written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from khw.engine.report import Outcome

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".jsonl"
CUT_OFF = "cut off"
NOT_BEGUN = "not begun"


@dataclass(frozen=True, slots=True)
class Stop:
    """A phase that is not done on a host: how it ended, if it did, why, and in which run."""

    phase: str
    state: str  # an Outcome that is not good, CUT_OFF or NOT_BEGUN
    why: str
    run: str

    @property
    def away(self) -> bool:
        """Whether the machine did not answer."""
        return self.state == Outcome.UNREACHABLE


Todo: TypeAlias = Mapping[str, tuple[Stop, ...]]
"""By host, the phases that are not done, in their order."""


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """
    A run, as its journal tells it.

    `stops` are the hosts of this run that are not through; `todo` is that and what runs before it left undone.
    """

    run_id: str
    what: str
    process: int
    phases: tuple[str, ...] = ()
    lanes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    done: frozenset[tuple[str, str]] = frozenset()
    todo: Todo = field(default_factory=dict)
    exit_code: int | None = None  # None: it did not come to its end
    seconds: float = 0.0  # to its end, or to its last word
    error: str = ""  # what ended it as a whole
    destroy: bool = False
    left: tuple[str, ...] = ()  # by a destroy

    @property
    def stops(self) -> dict[str, Stop]:
        """By host, where it stopped in this run; hosts that are through are not in it."""
        found: dict[str, Stop] = {}
        for host, lane in self.lanes.items():
            mine = [stop for stop in self.todo.get(host, ()) if stop.run == self.run_id and stop.phase in lane]
            if mine:
                found[host] = mine[0]
        return found

    def todo_as_dict(self) -> dict[str, list[list[str]]]:
        """Return the JSON form that the next journal carries."""
        return {host: [[s.phase, s.state, s.why, s.run] for s in stops] for host, stops in self.todo.items() if stops}


def newest(directory: Path) -> str:
    """Return the id of the newest journal, readable or not; '' if there is none."""
    return max((path.stem for path in directory.glob(f"*{SUFFIX}")), default="")


def last_run(directory: Path) -> PastRun | None:
    """Return the last run (or destroy) that got as far as its first line; None if there was none."""
    for path in sorted(directory.glob(f"*{SUFFIX}"), reverse=True):
        records = records_of(path)
        if not records:
            continue
        match records[0]:
            case {"event": "run", "lanes": dict()}:
                return _run(path.stem, records)
            case {"event": "destroy"}:
                return _destroy(path.stem, records)
    return None


def records_of(path: Path) -> list[dict[str, Any]]:
    """Return a journal's records, in the order in which they were written, less what cannot be read."""
    found = []
    for line in path.read_text("utf-8", "replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:  # what a killed run, or a full disk, left of a line
            continue
        if isinstance(record, dict) and "event" in record:
            found.append(record)
    return found


def _destroy(run_id: str, records: list[dict[str, Any]]) -> PastRun:
    left = next((tuple(r["left"]) for r in records if r["event"] == "destroyed"), None)
    return PastRun(
        run_id=run_id,
        what=records[0].get("what", ""),
        process=records[0].get("process", 0),
        exit_code=None if left is None else int(bool(left)),
        seconds=records[-1].get("at", 0.0),
        destroy=True,
        left=left or (),
    )


def _run(run_id: str, records: list[dict[str, Any]]) -> PastRun:
    first = records[0]
    lanes = {host: tuple(phases) for host, phases in first["lanes"].items()}
    done: set[tuple[str, str]] = set()
    reached: dict[tuple[str, str], Stop] = {}
    exit_code: int | None = None
    error = ""
    seconds = float(records[-1].get("at", 0.0))
    for record in records[1:]:
        where = (str(record.get("host", "")), str(record.get("phase", "")))
        match record["event"]:
            case "waits":
                reached[where] = Stop(where[1], CUT_OFF, f"while it waited for {record.get('for', '')}", run_id)
            case "begin" | "opened":
                reached[where] = Stop(where[1], CUT_OFF, "in the middle of this phase", run_id)
            case "end" if Outcome(record["outcome"]).good:
                done.add(where)
            case "end":
                reached[where] = Stop(where[1], record["outcome"], record["error"] or "", run_id)
            case "ended":
                exit_code, seconds = int(record["exit_code"]), float(record["seconds"])
                error = str(record.get("error", ""))
    before = {host: [Stop(*row) for row in rows] for host, rows in first.get("before", {}).items()}
    return PastRun(
        run_id=run_id,
        what=first.get("what", ""),
        process=first.get("process", 0),
        phases=tuple(first["phases"]),
        lanes=lanes,
        done=frozenset(done),
        todo=_todo(run_id, lanes, done, reached, before),
        exit_code=exit_code,
        seconds=seconds,
        error=error,
    )


def _todo(
    run_id: str,
    lanes: Mapping[str, tuple[str, ...]],
    done: set[tuple[str, str]],
    reached: Mapping[tuple[str, str], Stop],
    before: Mapping[str, list[Stop]],
) -> Todo:
    """Return what is not done: what was left undone before, and what this run was to do, less what it did."""
    todo: dict[str, tuple[Stop, ...]] = {}
    for host in dict.fromkeys((*lanes, *before)):
        lane = lanes.get(host, ())
        old = [s for s in before.get(host, ()) if s.phase not in lane and (host, s.phase) not in done]
        new = [
            reached.get((host, phase)) or Stop(phase, NOT_BEGUN, "", run_id)
            for phase in lane
            if (host, phase) not in done
        ]
        if old or new:
            todo[host] = (*old, *new)
    return todo
