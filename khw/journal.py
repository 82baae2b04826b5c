"""
The journal: what a run did, line by line, in `.khw/<cluster>/runs/<id>.jsonl`.

Each line is written as it happens and whole, so that a run that is killed leaves what it did. `khw run --failed`
reads the last one.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from khw.events import PhaseEnded, PhaseStarted, ResourceDone, RunEnded, RunStarted
from khw.report import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from khw.events import Event


def new_run_id() -> str:
    """Return an id that sorts by time."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


class Journal:
    """An event sink that appends to the run's file."""

    def __init__(self, directory: Path, run_id: str) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = (directory / f"{run_id}.jsonl").open("a", buffering=1)
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write the event, if it is one that a later run or a report needs."""
        record = _record(event)
        if record is not None:
            with self._lock:
                self._file.write(json.dumps(record) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _record(event: Event) -> dict[str, Any] | None:
    match event:
        case RunStarted():
            return {"event": "run", "id": event.run_id, "hosts": event.hosts, "phases": event.phases}
        case PhaseStarted():
            return {"event": "begin", "host": event.host, "phase": event.phase}
        case ResourceDone():
            change = event.change
            return {
                "event": "resource",
                "host": event.host,
                "phase": event.phase,
                "resource": change.resource,
                "action": change.action.value,
                "seconds": round(change.seconds, 3),
            }
        case PhaseEnded():
            return {"event": "end", **event.result.as_dict()}
        case RunEnded():
            return {"event": "ended", "exit_code": event.exit_code, "seconds": round(event.seconds, 3)}
        case _:
            return None


@dataclass(frozen=True, slots=True)
class LastRun:
    """What a journal says: `unfinished` maps each host that is not through to the phase where it stopped, and why."""

    run_id: str
    phases: tuple[str, ...]
    unfinished: dict[str, tuple[str, str]]


def last_run(directory: Path) -> LastRun | None:
    """Read the newest journal; None if there was no run yet."""
    files = sorted(directory.glob("*.jsonl")) if directory.is_dir() else []
    return _read(files[-1]) if files else None


def _read(path: Path) -> LastRun:
    phases: tuple[str, ...] = ()
    open_phases: dict[str, tuple[str, str]] = {}
    for line in path.read_text().splitlines():
        record = _parsed(line)
        match record.get("event"):
            case "run":
                phases = tuple(record["phases"])
                open_phases = dict.fromkeys(record["hosts"], (phases[0], "not begun")) if phases else {}
            case "begin":
                open_phases[record["host"]] = (record["phase"], "cut off")
            case "end" if not Outcome(record["outcome"]).good:
                open_phases[record["host"]] = (record["phase"], record["error"] or record["outcome"])
            case "end":
                open_phases[record["host"]] = (record["phase"], "through")
            case "ended":
                open_phases = {host: stop for host, stop in open_phases.items() if stop[1] != "through"}
    return LastRun(path.stem, phases, open_phases)


def _parsed(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:  # the last line of a run that was killed while writing it
        return {}
    return record if isinstance(record, dict) else {}
