"""A frame: what a run is at this moment as lines of text, for a terminal of so many columns and lines. Pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from khw.engine.phases import PHASES
from khw.engine.report import Outcome
from khw.live.model import Now, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.engine.events import PhaseWaits
    from khw.live.model import Cell, Model

WIDE = 110  # columns from which on the phases' names have room
NARROW_CELL, WIDE_CELL = 2, 4
LEAST_WORDS = 40  # columns that must be left for what a host does
SHOWN_FROM = 2  # seconds from which on it is said how long something takes

_LOOK: dict[Cell, tuple[str, str, str]] = {
    Outcome.OK: ("✓", "+", "green"),
    Outcome.CHANGED: ("●", "*", "yellow"),
    Outcome.ELSEWHERE: ("-", "-", "dim"),
    Outcome.FAILED: ("✗", "X", "bold red"),
    Outcome.UNREACHABLE: ("!", "!", "bold red"),
    Outcome.BLOCKED: ("■", "#", "magenta"),
    Outcome.CANCELLED: ("x", "x", "bold red"),
    Now.AT_WORK: ("▸", ">", "bold cyan"),
    Now.WAITS: ("…", "~", "magenta"),
    Now.TO_COME: ("·", ".", "dim"),
}
_LEGEND: tuple[tuple[Cell, str], ...] = (
    (Outcome.OK, "as it was"),
    (Outcome.CHANGED, "changed"),
    (Now.AT_WORK, "at work"),
    (Now.WAITS, "waits"),
    (Now.TO_COME, "to come"),
)
_CHAPTERS = {phase.name: phase.chapter for phase in PHASES}
_SHORT = {"certificates": "crt", "compute": "vm", "workers": "wkr", "load-balancer": "lb", "kubectl": "ctl"}
_VERBS = {
    "unit": "starts",
    "wait": "until",
    "command": "runs",
    "package": "installs",
    "image": "loads",
    "manifest": "applies",
    "binary": "sends",
    "file": "writes",
    "directory": "makes",
    "absent": "removes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The terminal; `signs` says whether it can show more than ASCII."""

    columns: int
    lines: int
    signs: bool = True


def frame(model: Model, size: Size, now: float, *, what: str = "khw run", expected: float | None = None) -> list[Text]:
    """Return the lines, each within the columns and together within the lines but one."""
    room = size.lines - 5  # a title, a heading of two, the legend, and the line where the cursor stands
    rows = list(model.rows.values())
    shown, folded = _choose(rows, room)
    names = max((len(row.host) for row in shown), default=0)
    cell = _cell_width(model.phases, names, size)
    lines = [_title(model, size, now, what, expected), *_heading(model.phases, names, cell)]
    lines += [_line(model, row, names, cell, size, now) for row in shown]
    if folded:
        lines.append(Text(f"{len(folded)} more: {_summary(folded)}", style="dim"))
    lines.append(_legend(size))
    for line in lines:
        line.no_wrap = True
        line.rstrip()  # a terminal that gets narrower wraps blanks too
        line.truncate(size.columns - 1, overflow="ellipsis" if size.signs else "crop")
    return lines


def _title(model: Model, size: Size, now: float, what: str, expected: float | None) -> Text:
    elapsed = max(0.0, now - model.began)
    foretold = "" if expected is None else f" of about {_clock(max(expected, elapsed))}"
    clock = Text.assemble((_clock(elapsed), "bold"), (foretold, "dim"))
    parts = [f"{len(model.ends)} of {model.steps} steps", f"{model.changed} changed"]
    if model.flow.taken:
        parts.append(f"{_bytes(model.flow.taken)} sent{_speed(model.flow.speed(now))}")
    left = Text.assemble((what, "bold"), "  " + ", ".join(parts))
    gap = size.columns - 1 - left.cell_len - clock.cell_len
    if gap < 2:
        left.truncate(max(0, size.columns - 3 - clock.cell_len))
        gap = size.columns - 1 - left.cell_len - clock.cell_len
    return left + Text(" " * gap) + clock


def _heading(phases: Sequence[str], names: int, cell: int) -> list[Text]:
    """Return chapters, written downwards, or in a wide terminal the phases' names in three letters."""
    if cell == WIDE_CELL:
        labels = [_SHORT.get(phase, phase[:3]).ljust(cell) for phase in phases]
        return [Text(" " * (names + 1) + "".join(labels).rstrip(), style="dim")]
    chapters = [_CHAPTERS.get(phase, 0) for phase in phases]
    first = [c if c != before else 0 for before, c in zip([0, *chapters], chapters, strict=False)]
    tens = "".join((str(c // 10) if c >= 10 else "").ljust(cell) for c in first)
    units = "".join((str(c % 10) if c else "").ljust(cell) for c in first)
    return [
        Text(" " * (names + 1) + tens.rstrip(), style="dim"),
        Text("chapter"[:names].ljust(names + 1) + units.rstrip(), style="dim"),
    ]


def _line(model: Model, row: Row, names: int, cell: int, size: Size, now: float) -> Text:  # noqa: PLR0913 - one line
    line = Text(row.host.ljust(names + 1))
    for phase in model.phases:
        state = row.cells.get(phase)
        sign, plain, style = _LOOK[state] if state is not None else (" ", " ", "")
        line.append((sign if size.signs else plain).ljust(cell), style)
    line.append(" ")
    room = size.columns - 1 - line.cell_len
    said = _words(model, row, now)
    return line + next((words for words in said if words.cell_len <= room), said[-1])


def _words(model: Model, row: Row, now: float) -> list[Text]:
    """Say what a host does at this moment, or what it waits for and who has it; shorter and shorter."""
    if row.stopped:
        return [Text(f"{row.phase}: {row.stopped}", style=_LOOK[row.stopped][2])]
    if row.waits:
        reason = _reason(model, row.waits)
        return [Text(f"waits for {reason}", style="magenta"), Text(reason, style="magenta")]
    if row.cells.get(row.phase) is Now.AT_WORK:
        return _work(row, now)
    return [Text("through", style="green dim") if row.through else Text()]


def _work(row: Row, now: float) -> list[Text]:
    if row.text:
        return [Text(row.text)]
    seconds = now - row.since
    took = (f" {seconds:.0f} s" if seconds >= SHOWN_FROM else "", "dim")
    phase = (row.phase, "cyan")
    kind, _, name = row.resource.partition(":")
    thing = (name.rstrip("/").rpartition("/")[2] or name).removesuffix(".service")
    if not thing:
        return [Text.assemble(phase, took), Text.assemble(phase)]
    amount = speed = ""
    if row.size >= 1_000_000 and row.sent < row.size:
        amount, speed = f" {row.sent / 1e6:.0f}/{_bytes(row.size)}", _speed(row.flow.speed(now))
    verb = f"{_VERBS[kind]} " if kind in _VERBS else ""
    return [
        Text.assemble(phase, f" {verb}{thing}{amount}{speed}", took),
        Text.assemble(phase, f" {verb}{thing}{amount}", took),
        Text.assemble(phase, f" {thing}{amount}", took),
        Text.assemble(phase, f" {thing}{amount}"),
        Text(f"{thing}{amount}"),
    ]


def _reason(model: Model, waits: PhaseWaits) -> str:
    still = model.still(waits)
    return f"{waits.awaited}: {together(still)}" if waits.awaited and still else waits.reason


def _choose(rows: list[Row], room: int) -> tuple[list[Row], list[Row]]:
    """Return the rows to show in their order, and those to fold: the quiet ones first."""
    if len(rows) <= room:
        return rows, []
    first = sorted(range(len(rows)), key=lambda index: (_quiet(rows[index]), index))
    kept = set(first[: max(1, room - 1)])
    shown = [row for index, row in enumerate(rows) if index in kept]
    return shown, [row for index, row in enumerate(rows) if index not in kept]


def _quiet(row: Row) -> int:
    if row.stopped:
        return 0
    if row.cells.get(row.phase) is Now.AT_WORK:
        return 1
    return 3 if row.through else 2


def _summary(rows: Iterable[Row]) -> str:
    count = Counter(_state(row) for row in rows)
    return ", ".join(f"{number} {state}" for state, number in count.most_common())


def _state(row: Row) -> str:
    if row.stopped:
        return row.stopped.value
    if row.waits:
        return f"wait for {row.waits.awaited}" if row.waits.awaited else "wait"
    if row.through:
        return "through"
    return f"at {row.phase}" if row.cells.get(row.phase) is Now.AT_WORK else "to come"


def _cell_width(phases: Sequence[str], names: int, size: Size) -> int:
    fits = names + 2 + len(phases) * WIDE_CELL + LEAST_WORDS <= size.columns
    return WIDE_CELL if fits and size.columns >= WIDE else NARROW_CELL


def _legend(size: Size) -> Text:
    line = Text()
    for state, word in _LEGEND:
        sign, plain, style = _LOOK[state]
        line.append(sign if size.signs else plain, style)
        line.append(f" {word}   ", "dim")
    return line


def together(hosts: Sequence[str]) -> str:
    """Return names that differ in their number alone as one: controller-0,1,2."""
    groups: dict[str, list[str]] = {}
    for host in hosts:
        match = re.fullmatch(r"(.*?)(\d+)", host)
        stem, number = match.groups() if match else (host, "")
        groups.setdefault(stem, []).append(number)
    return " ".join(stem + ",".join(numbers) for stem, numbers in groups.items())


def _bytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _speed(per_second: float) -> str:
    return f" {per_second / 1e6:.0f} MB/s" if per_second >= 1e6 else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
