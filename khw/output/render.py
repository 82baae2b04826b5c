"""What a person or a program reads: tables, JSON and YAML on stdout, progress on stderr."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from khw.checks import Status
from khw.engine.events import Notice, PhaseEnded, PhaseWaits, Progress, RunStarted
from khw.engine.report import OPERATOR, Outcome, first_bad

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.converge.changes import Change
    from khw.engine.events import Event
    from khw.engine.report import PhaseResult, Report
    from khw.history.status import RunStatus

_STYLES = {
    Outcome.OK: "green",
    Outcome.CHANGED: "yellow",
    Outcome.ELSEWHERE: "dim",
    Outcome.BLOCKED: "magenta",
    Outcome.FAILED: "bold red",
    Outcome.UNREACHABLE: "bold red",
    Outcome.CANCELLED: "bold red",
    Status.PASSED: "green",
    Status.FAILED: "bold red",
    Status.SKIPPED: "dim",
    Status.MANUAL: "yellow",
}


def as_json(data: object) -> str:
    """Return indented JSON."""
    return json.dumps(data, indent=2)


def as_yaml(data: object) -> str:
    """Return YAML."""
    import io

    from ruamel.yaml import YAML

    out = io.StringIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.dump(data, out)
    return out.getvalue().rstrip("\n")


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print columns the way kubectl does: upper-case headers, no lines, nothing cut off."""
    grid = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for header in headers:
        grid.add_column(header.upper(), overflow="fold", no_wrap=not sys.stdout.isatty())
    for row in rows:
        grid.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    stdout().print(grid)


def outcome(value: Outcome | Status) -> Text:
    """Return a status in its colour."""
    return Text(value.value, style=_STYLES[value])


def style_of(value: Outcome | Status) -> str:
    """Return the colour of a status, for one that is called otherwise."""
    return _STYLES[value]


class ProgressLines:
    """An event sink: one line an event on stderr, for terminals and logs alike."""

    def __init__(self, *, check: bool = False) -> None:
        self._check = check
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._width = len(OPERATOR)

    def __call__(self, event: Event) -> None:
        """Print the event, if it says something to a person."""
        match event:
            case RunStarted():
                self._width = max(map(len, (*event.hosts, OPERATOR)))
            case PhaseWaits():
                self._line(event.host, event.phase, Text(f"waits for {event.reason}", style="dim"))
            case PhaseEnded() if event.result.outcome is not Outcome.ELSEWHERE:
                self._line(event.result.host, event.result.phase, _phase_line(event.result, check=self._check))
            case Notice() | Progress():
                self._line(event.host, "", Text(event.text, style="dim"))
            case _:
                pass

    def _line(self, host: str, phase: str, rest: Text) -> None:
        self._console.print(Text(f"{host:<{self._width}}  {phase:<14}  ") + rest)


def _phase_line(result: PhaseResult, *, check: bool) -> Text:
    line = outcome(result.outcome)
    if check and result.outcome is Outcome.CHANGED:
        line = Text("would change", style=_STYLES[result.outcome])
    if result.changed:
        line += Text(f" {result.changed} of {len(result.changes)}")
    line += Text(f"  {result.ended - result.started - result.waited:.1f} s", style="dim")
    if result.error:
        line += Text(f"  {result.error.message.splitlines()[0]}")
    return line


def report(result: Report) -> None:
    """Print a run: a row a host, then what went wrong and the way out, then what it took."""
    rows = []
    for host, results in result.hosts.items():
        stopped = first_bad(results)
        changed = sum(r.changed for r in results)
        unchanged = sum(len(r.changes) for r in results) - changed
        last = stopped or results[-1]
        state = stopped.outcome if stopped else (Outcome.CHANGED if changed else Outcome.OK)
        busy = sum(r.ended - r.started - r.waited for r in results)
        rows.append((host, outcome(state), changed, unchanged, f"{busy:.1f}", last.phase if stopped else "-"))
    table(
        (
            "host",
            "status",
            "would change" if result.check else "changed",
            "unchanged",
            "seconds",
            "stopped at",
        ),
        rows,
    )
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for host, results in result.hosts.items():
        if (stopped := first_bad(results)) and stopped.error:
            errors.print(Text(f"\n{host}: {stopped.phase}: {stopped.error.message}", style="red"))
            evidence = getattr(stopped.error, "evidence", "")
            for text in (evidence, stopped.error.hint):
                if text:
                    errors.print(Text("\n".join(f"    {line}" for line in text.splitlines())))
    verb = "would change" if result.check else "changed"
    relayed = f", {result.bytes_relayed / 1e6:.1f} MB passed on between nodes" if result.bytes_relayed else ""
    stdout().print(
        f"\n{result.changed} {verb} on {len(result.hosts)} hosts in {result.seconds:.1f} s, "
        f"{result.round_trips} round trips, {result.bytes_sent / 1e6:.1f} MB sent{relayed}"
    )


def changes(result: Report, *, diff: bool) -> None:
    """Print every change by host and phase; with `diff`, the lines of text that differ (never a secret's)."""
    out = stdout()
    for host, results in sorted(result.hosts.items(), key=lambda row: _natural(row[0])):
        for row in results:
            for change in row.changes:
                if not change.changed:
                    continue
                out.print(Text(f"{host}  {row.phase}  {change.action}  {change.resource}{_detail(change)}"))
                if diff and change.diff:
                    for line in change.diff.splitlines():
                        out.print(Text(f"    {line}", style=_DIFF.get(line[:1], "")))


def _detail(change: Change) -> str:
    detail = f"  ({change.before or 'absent'} → {change.after})" if change.after else ""
    return detail if change.certain else f"{detail}  (if it is not so by then)"


def _natural(host: str) -> tuple[bool, list[str | int]]:
    """The operator's side first, worker-2 before worker-10."""
    parts = re.split(r"(\d+)", host)
    return host != OPERATOR, [int(part) if part.isdigit() else part for part in parts]


_DIFF = {"+": "green", "-": "red", "@": "cyan"}


def phase_times(result: Report) -> None:
    """Print, for each phase, when its first host began and its last ended, and the longest one's work."""
    by_phase: dict[str, list[PhaseResult]] = {}
    for row in result.results:
        if row.outcome is not Outcome.ELSEWHERE:
            by_phase.setdefault(row.phase, []).append(row)
    table(
        ("phase", "hosts", "changed", "from", "to", "longest", "waited"),
        (
            (
                phase,
                len(rows),
                sum(r.changed for r in rows),
                f"{min(r.started for r in rows):.1f}",
                f"{max(r.ended for r in rows):.1f}",
                f"{max(r.ended - r.started - r.waited for r in rows):.1f}",
                f"{max(r.waited for r in rows):.1f}",
            )
            for phase, rows in by_phase.items()
        ),
    )


def status(found: RunStatus) -> None:
    """Print what `khw status` says: the run, a row a host, and the next command."""
    from khw.history.status import state_style

    out = stdout()
    if found.run:
        took = f", {found.seconds:.0f} s" if found.exit_code is not None else ""
        code = f", exit code {found.exit_code}" if found.exit_code else ""
        head = Text(f"khw {found.command}: {found.started}{took}: ")
        out.print(head + Text(found.state, style=state_style(found.state)) + Text(code))
        out.print(Text(f"phases: {' '.join(found.phases)}\n") if found.phases else Text())
    if found.hosts:
        rows = [
            (
                row.host,
                Text(row.state, style=state_style(row.state)),
                row.phase or "-",
                "" if row.run in {"", found.run} else f"in run {row.run}",
                first_line(row.why),
            )
            for row in found.hosts
        ]
        table(("host", "state", "stopped at", "since", "why"), rows)
        out.print()
    out.print(Text(found.says))
    out.print(Text("next: ") + Text(found.next, style="bold"))


def first_line(text: str) -> str:
    """Return the first line, as much as a table shows of it."""
    return text.splitlines()[0][:100] if text else ""


def stdout() -> Console:
    """Return a console for data: in a pipe it folds and cuts off nothing."""
    width = None if sys.stdout.isatty() else 2000  # a pipe has no width: nothing is cut off or folded
    return Console(highlight=False, width=width, soft_wrap=True)


def data(value: Any, form: str) -> None:
    """Print a value as JSON or YAML."""
    print(as_json(value) if form == "json" else as_yaml(value))
