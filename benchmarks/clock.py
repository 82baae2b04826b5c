"""How long a command takes, as a whole process, and under which load it ran."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LIMIT = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A contestant's command for one measurement."""

    name: str
    command: Sequence[str]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """
    One run of a case; `load` is the machine's one-minute load average when it began.

    `cpu` are the seconds of CPU that the case used on this side, which a busy machine changes less than `seconds`.
    """

    measurement: str
    case: str
    seconds: float
    load: float
    at: str
    note: str = ""
    cpu: float = 0.0
    round_trip: int = 0  # milliseconds to the machines


@dataclass(frozen=True, slots=True)
class Spread:
    """Min, median and max of the samples of one case."""

    runs: int
    least: float
    median: float
    most: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Return the spread of these."""
        return cls(len(seconds), min(seconds), statistics.median(seconds), max(seconds))


class CaseFailedError(Exception):
    """A contestant did not end well; what it said last is in the text."""


def measure(measurement: str, case: Case, round_trip: int = 0) -> Sample:
    """Run the case once and return its time; a case that fails has no time. `round_trip` is only written down."""
    load, at = os.getloadavg()[0], datetime.now(UTC).isoformat(timespec="seconds")
    name = re.sub(r"[^a-z0-9+]+", "-", f"{measurement} {round_trip} {case.name}")
    log = case.directory / "logs" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    began, used = time.monotonic(), _children()
    with log.open("wb") as said:
        done = subprocess.run(
            case.command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=case.directory,
            env={**os.environ, **case.environment},
            check=False,
            timeout=LIMIT,
        )
    seconds = time.monotonic() - began
    if done.returncode:
        msg = f"{case.name}: exit code {done.returncode}\n{log.read_text(errors='replace')[-3000:]}"
        raise CaseFailedError(msg)
    sys.stderr.write(f"{measurement:<10}{round_trip:>4} ms  {case.name:<44}{seconds:8.2f} s   load {load:.1f}\n")
    return Sample(
        measurement=measurement,
        case=case.name,
        seconds=round(seconds, 3),
        load=round(load, 1),
        at=at,
        note=case.note,
        cpu=round(_children() - used, 3),
        round_trip=round_trip,
    )


def _children() -> float:
    times = os.times()
    return times.children_user + times.children_system
