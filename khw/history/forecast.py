"""How long a run will take, by what earlier runs took. Pure but for `paces`, which reads their journals."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from khw.engine.report import Outcome
from khw.history.runs import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LOOKED_AT = 10  # journals, the newest
_END, _LAST = '"event":"end",', '"event":"ended",'


@dataclass(frozen=True, slots=True)
class Pace:
    """A run that came to a good end: when each (host, phase) was through, and when all was, in seconds."""

    ends: Mapping[tuple[str, str], float]
    seconds: float


class Going(Protocol):
    """A run that goes on, as the live view knows it."""

    @property
    def ends(self) -> dict[tuple[str, str], float]:
        """When each (host, phase) was through."""

    @property
    def steps(self) -> int:
        """How many there are."""


def paces(directory: Path) -> list[Pace]:
    """Return the newest runs that came to a good end, newest first; what cannot be read is not there."""
    found = []
    for path in sorted(directory.glob(f"*{SUFFIX}"), reverse=True)[:LOOKED_AT]:
        try:
            pace = _pace(path.read_text("utf-8", "replace").splitlines())
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if pace:
            found.append(pace)
    return found


def _pace(lines: Iterable[str]) -> Pace | None:
    ends: dict[tuple[str, str], float] = {}
    for line in lines:
        if _END in line:
            record = json.loads(line)
            if not Outcome(record["outcome"]).good:
                return None
            ends[record["host"], record["phase"]] = float(record["ended"])
        elif _LAST in line:
            record = json.loads(line)
            return Pace(ends, float(record["seconds"])) if record["exit_code"] == 0 and ends else None
    return None


def expected(known: Iterable[Pace], going: Going) -> float | None:
    """
    Return how many seconds the run will take in all; None if no earlier run was of the same hosts and phases.

    Of those that were, the one goes that has been most alike so far (a first run takes long, one without changes
    hardly any time); what it still took from as many steps on is what is left.
    """
    now = dict(going.ends)
    alike = [pace for pace in known if len(pace.ends) == going.steps and set(now) <= set(pace.ends)]
    if not alike:
        return None
    if not now:
        return alike[0].seconds
    best = min(alike, key=lambda pace: _distance(pace, now))
    then = sorted(best.ends.values())[len(now) - 1]
    return max(now.values()) + best.seconds - then


def _distance(pace: Pace, now: Mapping[tuple[str, str], float]) -> float:
    return sum(abs(math.log((end + 0.5) / (pace.ends[step] + 0.5))) for step, end in now.items())
