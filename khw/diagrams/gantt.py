"""A run in time: a lane for each host, a bar for each phase, waits within it, and the critical path around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.diagrams.layout import Rect
from khw.diagrams.svg import document, group, rect, text
from khw.diagrams.text import width
from khw.engine.phases import PHASES
from khw.engine.report import Outcome
from khw.history.critical import critical_path
from khw.history.timeline import DISCOVERY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.history.critical import Segment
    from khw.history.timeline import Bar, Timeline

WIDE = 1100.0
LANE, BAR, TOP, SIDE = 30.0, 22.0, 34.0, 12.0
LETTERS, SMALL = 12.0, 11.0
LEAST = 1.5  # the width of a bar that took no time worth the name
STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
TICKS = 12  # at most
GOOD = {outcome.value for outcome in Outcome if outcome.good}
_CHAPTERS = {phase.name: phase.chapter for phase in PHASES}


def gantt(run: Timeline) -> str:
    """Return the run as SVG."""
    hosts = [host for host in run.hosts if run.of(host)]
    names = max((width(host, LETTERS) for host in hosts), default=60.0) + 2 * SIDE
    scale = _Scale(names, max([run.seconds, 0.1, *(bar.ended for bar in run.bars)]))
    high = TOP + LANE * len(hosts) + SIDE
    path = critical_path(run)
    body = [*_axis(scale, high)]
    for index, host in enumerate(hosts):
        y = TOP + LANE * index
        body.append(text(SIDE, y + LANE / 2 + 4, host, LETTERS, look="title"))
        for odd, bar in enumerate(bar for bar in run.of(host) if bar.outcome != Outcome.ELSEWHERE):
            body.append(_bar(scale, bar, y + (LANE - BAR) / 2, odd=odd % 2 == 1))
    body += _critical(scale, path, {host: TOP + LANE * index for index, host in enumerate(hosts)})
    return document("gantt", "What each host did, second by second", _described(run, path), WIDE, high, body)


class _Scale:
    """Seconds to places."""

    def __init__(self, left: float, seconds: float) -> None:
        self.left = left
        self.seconds = seconds
        self.per_second = (WIDE - left - SIDE) / seconds

    def x(self, seconds: float) -> float:
        return self.left + seconds * self.per_second

    @property
    def ticks(self) -> list[float]:
        step = next((s for s in STEPS if self.seconds / s <= TICKS), STEPS[-1] * 2)
        return [step * n for n in range(int(self.seconds / step) + 1)]


def _axis(scale: _Scale, high: float) -> Iterator[str]:
    for tick in scale.ticks:
        x = scale.x(tick)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6:.1f}" y2="{high - SIDE / 2:.1f}"/>'
        yield text(x, TOP - 12, f"{tick:g} s", SMALL, look="axis", anchor="middle")


def _bar(scale: _Scale, bar: Bar, y: float, *, odd: bool) -> str:
    x, wide = scale.x(bar.started), max(LEAST, (bar.ended - bar.started) * scale.per_second)
    look = "bar bad" if bar.outcome not in GOOD else "bar odd" if odd else "bar"
    parts = [rect(Rect(x, y, wide, BAR), look, 2)]
    for wait in bar.waits:
        began, long = scale.x(wait.began), (wait.ended - wait.began) * scale.per_second
        if long >= LEAST:
            parts.append(rect(Rect(began, y + 3, long, BAR - 6), "wait", 2))
    sign = "" if bar.outcome in GOOD else "✗ "
    labels = (f"{sign}{bar.phase}", f"{sign}{_CHAPTERS.get(bar.phase, '')}", sign.strip())
    label = next((said for said in labels if said and width(said, SMALL) + 4 <= wide), "")
    if label:
        free = _free(bar)
        at = scale.x(sum(free) / 2) if width(label, SMALL) <= (free[1] - free[0]) * scale.per_second else x + wide / 2
        parts.append(text(at, y + BAR / 2 + 4, label, SMALL, anchor="middle"))
    return group(_told(bar), *parts)


def _free(bar: Bar) -> tuple[float, float]:
    """Return the longest stretch of a bar in which nothing was waited for: there its name stands."""
    edges = [bar.started, *(moment for wait in bar.waits for moment in (wait.began, wait.ended)), bar.ended]
    return max(zip(edges[::2], edges[1::2], strict=True), key=lambda stretch: stretch[1] - stretch[0])


def _told(bar: Bar) -> str:
    took = f"{bar.host}: {bar.phase}: {bar.outcome}, {bar.started:.1f} s to {bar.ended:.1f} s"
    waits = [f"waited {w.ended - w.began:.1f} s for {w.reason}" for w in bar.waits]
    if bar.phase == DISCOVERY:
        return f"{took}: the cloud is asked where the machines are"
    changed = [f"{bar.changed} changed, {bar.unchanged} as they were"]
    return "; ".join((took, *waits, *changed, *([bar.error.splitlines()[0]] if bar.error else [])))


def _critical(scale: _Scale, path: tuple[Segment, ...], lanes: dict[str, float]) -> Iterator[str]:
    """Outline the stretches of the critical path, and join them."""
    before: tuple[float, float] | None = None
    for part in path:
        y = lanes[part.host] + (LANE - BAR) / 2
        x, wide = scale.x(part.began), max(LEAST, part.seconds * scale.per_second)
        outline = rect(Rect(x, y - 1.5, wide, BAR + 3), "critical", 2)
        yield group(f"critical path: {part.phase} on {part.host}, {part.seconds:.1f} s", outline)
        middle = y + BAR / 2
        if before is not None and before[1] != middle:
            yield f'<path class="critical" d="M{before[0]:.1f} {before[1]:.1f}L{x:.1f} {middle:.1f}"/>'
        before = (x + wide, middle)


def _described(run: Timeline, path: tuple[Segment, ...]) -> str:
    steps = ", then ".join(f"{p.phase} on {p.host} for {p.seconds:.1f} s" for p in path)
    return f"{len(run.hosts)} hosts, {run.seconds:.1f} s in all. The critical path: {steps or 'nothing'}."
