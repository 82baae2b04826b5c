"""
One run in time, as its journal tells it: what each host did when, what it waited for, what was changed.

`khw.history.runs` says what is left to do; this is for looking back. What cannot be read is taken as not written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from khw.engine.report import Outcome
from khw.errors import UsageError
from khw.history.runs import CUT_OFF, SUFFIX, records_of

if TYPE_CHECKING:
    from pathlib import Path


DISCOVERY = "discovery"
"""What the bar is called in which the provider is asked where the machines are: it is no phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A host at a gate: until enough of the `holders` were through `awaited`, if it was a phase that it waited for."""

    began: float
    ended: float
    reason: str
    awaited: str = ""
    holders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A phase on a host, in seconds since the run began; `outcome` is an Outcome's value or CUT_OFF."""

    host: str
    phase: str
    outcome: str
    started: float
    ended: float
    waits: tuple[Waiting, ...] = ()
    changed: int = 0
    unchanged: int = 0
    error: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A resource that was changed."""

    host: str
    phase: str
    resource: str
    action: str
    seconds: float
    before: str = ""
    after: str = ""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A run; `exit_code` is None where it did not come to its end."""

    run_id: str
    what: str
    hosts: tuple[str, ...]
    phases: tuple[str, ...]
    bars: tuple[Bar, ...]
    made: tuple[Made, ...]
    seconds: float
    exit_code: int | None = None
    error: str = ""
    round_trips: Mapping[str, int] = field(default_factory=dict)
    bytes_sent: Mapping[str, int] = field(default_factory=dict)
    bytes_relayed: Mapping[str, int] = field(default_factory=dict)

    def of(self, host: str) -> tuple[Bar, ...]:
        """Return a host's bars, in the order in which they began."""
        return tuple(sorted((bar for bar in self.bars if bar.host == host), key=lambda bar: bar.started))


def read(directory: Path, run_id: str = "") -> Timeline:
    """Return this run (or the newest whose journal begins with a run); UsageError if there is none."""
    names = [run_id] if run_id else sorted((p.stem for p in directory.glob(f"*{SUFFIX}")), reverse=True)
    for name in names:
        path = directory / f"{name}{SUFFIX}"
        records = records_of(path) if path.exists() else []
        if records and records[0].get("event") == "run":
            return _timeline(name, records)
    if run_id:
        raise UsageError(f"there is no run {run_id!r}", hint=f"runs are the files in {directory}")
    raise UsageError("there was no run yet", hint="khw run")


def _timeline(run_id: str, records: list[dict[str, Any]]) -> Timeline:
    first = records[0]
    last = next((r for r in records if r["event"] == "ended"), {})
    shift = _shift(records)
    seconds = float(last.get("seconds", records[-1].get("at", 0.0)))
    asked = [str(r["host"]) for r in records if r["event"] == "discovered"]
    return Timeline(
        run_id=run_id,
        what=str(first.get("what", "")),
        hosts=tuple(dict.fromkeys((*asked, *first["hosts"]))),
        phases=tuple(first["phases"]),
        bars=tuple(_bars(records, shift, seconds)),
        made=tuple(_made(r) for r in records if r["event"] == "resource" and r["action"] != "unchanged"),
        seconds=seconds,
        exit_code=last.get("exit_code"),
        error=str(last.get("error", "")),
        round_trips=last.get("round_trips", {}),
        bytes_sent=last.get("bytes_sent", {}),
        bytes_relayed=last.get("bytes_relayed", {}),
    )


def _shift(records: list[dict[str, Any]]) -> float:
    """Return by how much the journal's clock (`at`) is ahead of the run's: it began a moment before."""
    return min((r["at"] - r["ended"] for r in records if r["event"] == "end"), default=0.0)


def _bars(records: list[dict[str, Any]], shift: float, seconds: float) -> list[Bar]:
    open_at: dict[tuple[str, str], float] = {}
    waits: dict[tuple[str, str], list[Waiting]] = {}
    waiting: dict[tuple[str, str], dict[str, Any]] = {}
    bars: dict[tuple[str, str], Bar] = {}
    for record in records[1:]:
        where = (str(record.get("host", "")), str(record.get("phase", "")))
        at = max(0.0, float(record.get("at", 0.0)) - shift)
        match record["event"]:
            case "discovered":
                bars[where[0], DISCOVERY] = _bar(record | {"phase": DISCOVERY, "outcome": Outcome.OK.value}, ())
            case "waits":
                open_at.setdefault(where, at)
                _close(waits, waiting, where, at)
                waiting[where] = record | {"at": at}
            case "begin" | "opened":
                open_at.setdefault(where, at)
                _close(waits, waiting, where, at)
            case "end":
                _close(waits, waiting, where, float(record["ended"]))
                bars[where] = _bar(record, tuple(waits.get(where, ())))
    for where, began in open_at.items():
        if where not in bars:  # it was killed in the middle
            _close(waits, waiting, where, seconds)
            host, phase = where
            cut = tuple(waits.get(where, ()))
            bars[where] = Bar(host=host, phase=phase, outcome=CUT_OFF, started=began, ended=seconds, waits=cut)
    return list(bars.values())


def _close(
    waits: dict[tuple[str, str], list[Waiting]],
    waiting: dict[tuple[str, str], dict[str, Any]],
    where: tuple[str, str],
    at: float,
) -> None:
    record = waiting.pop(where, None)
    if record is not None:
        waits.setdefault(where, []).append(
            Waiting(
                began=record["at"],
                ended=at,
                reason=str(record.get("for", "")),
                awaited=str(record.get("awaited", "")),
                holders=tuple(record.get("holders", ())),
            )
        )


def _bar(record: dict[str, Any], waits: tuple[Waiting, ...]) -> Bar:
    return Bar(
        host=record["host"],
        phase=record["phase"],
        outcome=record["outcome"],
        started=float(record["started"]),
        ended=float(record["ended"]),
        waits=waits,
        changed=int(record.get("changed", 0)),
        unchanged=int(record.get("unchanged", 0)),
        error=record.get("error") or "",
        hint=record.get("hint") or "",
    )


def _made(record: dict[str, Any]) -> Made:
    return Made(
        host=record["host"],
        phase=record["phase"],
        resource=record["resource"],
        action=record["action"],
        seconds=float(record.get("seconds", 0.0)),
        before=record.get("before", ""),
        after=record.get("after", ""),
    )
