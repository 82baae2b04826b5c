"""What a person reads of `khw verify --profile cis`: each recommendation by its number, and the count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from khw.output import render
from khw.verify.cis import profile, summary

if TYPE_CHECKING:
    from khw.checks import CheckResult
    from khw.verify.verdict import Verdict


def benchmark(verdict: Verdict) -> None:
    """Print it; what is not about the benchmark (a node that does not answer) comes last."""
    found = summary.rows(verdict.results)
    render.table(
        ("number", "result", "where", "what is asked", "seen"),
        (
            (row.number, Text(row.word, render.style_of(row.status)), row.where or "cluster", row.title, row.seen)
            for row in found
        ),
    )
    others = [result for result in verdict.results if result.check != profile.CHECK]
    out = render.stdout()
    for result in others:
        out.print(Text(_line(result), "bold red"))
    out.print(f"\n{profile.NAME} {profile.VERSION}: {summary.told(found)}")


def _line(result: CheckResult) -> str:
    return f"{result.name} {result.node}: {result.actual}"
