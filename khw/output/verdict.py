"""What a person reads of `khw verify`: every check, then what is behind those that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from khw.checks import Status
from khw.output import render

if TYPE_CHECKING:
    from khw.verify.causes import Cause
    from khw.verify.verdict import Verdict

SHOWN = 6  # symptoms by name


def verdict(found: Verdict, *, brief: bool = False) -> None:
    """Print every check (`brief`: none that passed or does not apply), then the causes, then the count."""
    rows = [r for r in found.results if not brief or r.status is Status.FAILED]
    if rows:
        render.table(
            ("check", "node", "status", "seen", "seconds"),
            (
                (r.name, r.node or "-", render.outcome(r.status), render.first_line(r.actual), f"{r.seconds:.2f}")
                for r in rows
            ),
        )
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for number, cause in enumerate(found.causes, 1):
        _cause(errors, number, cause)
    failed = sum(r.status is Status.FAILED for r in found.results)
    total = len(found.results)
    line = f"\n{total - failed} of {total} checks passed or do not apply"
    if found.causes:
        causes = "cause" if len(found.causes) == 1 else "causes"
        line += f"; {failed} failed, of {len(found.causes)} {causes}"
    render.stdout().print(line)


def _cause(out: Console, number: int, cause: Cause) -> None:
    first = cause.first
    out.print(Text(f"\n{number}. {cause.title}", style="bold red"))
    _row(out, "seen", f"{first.actual} (expected: {first.expected})")
    _row(out, "likely", first.cause)
    _row(out, "evidence", first.evidence)
    _row(out, "show", first.command)
    _row(out, "way out", first.hint)
    others = [check for check in cause.checks if check is not first]
    _row(out, "also seen", _names(others))
    _row(out, "explains", _names(cause.symptoms))


def _row(out: Console, label: str, text: str) -> None:
    for at, line in enumerate(text.splitlines()):
        out.print(Text(f"   {label if at == 0 else '':<10}{line}"))


def _names(checks: object) -> str:
    rows = [f"{check.name} {check.node}".rstrip() for check in checks]  # type: ignore[attr-defined]
    names = list(dict.fromkeys(rows))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
