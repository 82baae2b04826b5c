"""The critical path of a run: the chain of steps and gates, back from its end, that made it as long as it was. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from khw.engine.report import OPERATOR, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.history.timeline import Bar, Timeline, Waiting

SLACK = 0.3  # seconds between the end of what was waited for and the moment at which a host goes on
NOTICED = 0.05  # seconds: shorter waits held nobody up


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of work that nothing but itself could have made shorter; `after` is what let it begin."""

    host: str
    phase: str
    began: float
    ended: float
    after: str = ""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


def critical_path(run: Timeline) -> tuple[Segment, ...]:
    """Return the segments in their order in time; empty if nothing was done."""
    bar = max(run.bars, key=lambda b: b.ended, default=None)
    until = bar.ended if bar else 0.0
    found: list[Segment] = []
    while bar is not None and len(found) <= len(run.bars) * 3:
        segment, bar, until = _back(run, bar, until)
        if segment.seconds > 0:
            found.append(segment)
    return tuple(reversed(found))


def _back(run: Timeline, bar: Bar, until: float) -> tuple[Segment, Bar | None, float]:
    """Return the stretch that ends at `until`, and the bar that it waited for, with the moment when that let it go."""
    gate = _last_gate(bar, until)
    if gate is None:
        before = _before(run, bar)
        after = f"{before.phase} on {before.host}" if before else ""
        segment = Segment(host=bar.host, phase=bar.phase, began=bar.started, ended=until, after=after)
        return segment, before, before.ended if before else 0.0
    opener = _opener(run.bars, gate)
    after = f"{opener.phase} on {opener.host}" if opener else gate.reason
    segment = Segment(host=bar.host, phase=bar.phase, began=gate.ended, ended=until, after=after)
    return (segment, opener, opener.ended) if opener else (segment, bar, gate.began)


def _last_gate(bar: Bar, until: float) -> Waiting | None:
    gates = [w for w in bar.waits if w.ended <= until and w.ended - w.began > NOTICED]
    return max(gates, key=lambda w: w.ended, default=None)


def _opener(bars: Iterable[Bar], gate: Waiting) -> Bar | None:
    """Return the step that opened a gate: the last that came through before it did."""
    mine = [
        bar
        for bar in bars
        if bar.phase == gate.awaited and bar.host in gate.holders and gate.began <= bar.ended <= gate.ended + SLACK
    ]
    there = [bar for bar in mine if bar.outcome != Outcome.ELSEWHERE]  # who did it, before who only waited for that
    return max(there or mine, key=lambda bar: bar.ended, default=None)


def _before(run: Timeline, bar: Bar) -> Bar | None:
    """Return the step before it on its own host; before a node's first is the operator's that made the machines."""
    mine = [b for b in run.bars if b.host == bar.host and b is not bar and b.ended <= bar.started + SLACK]
    if not mine and bar.host != OPERATOR:
        mine = [b for b in run.bars if b.host == OPERATOR and b.ended <= bar.started + SLACK]
    earlier = [b for b in mine if b.started < bar.started]
    return max(earlier, key=lambda b: b.ended, default=None)
