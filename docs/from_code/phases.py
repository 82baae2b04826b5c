"""The phases, from the table that is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from from_code.markdown import definitions, table, what_for
from from_code.told import told
from khw.engine.phases import PHASES
from khw.explain.book import chapter_of

if TYPE_CHECKING:
    from khw.engine.phases import Phase

HEAD = """\
# Phases

The whole run as one table, in the order of the guide. Each host walks down its own phases, the operator's side (where
khw runs) walks down its own; a host waits only where a phase *needs* something of others.
[](../../explanation/the-road.md) tells why. `khw phases` prints this table; `--phase`, `--from`, `--until` and
`--skip` take its names.
"""


def page() -> str:
    """Return the page."""
    rows = [(str(p.chapter), f"[{p.name}](#{p.name})", _runs_on(p), _needs(p), p.title) for p in PHASES]
    sections = [_section(phase) for phase in PHASES]
    return "\n\n".join((HEAD, table(("chapter", "phase", "runs on", "needs", "what"), rows), *sections)) + "\n"


def _runs_on(phase: Phase) -> str:
    places = (["operator"] if phase.operator else []) + [f"{role}s" for role in sorted(phase.roles)]
    return ("one of the " if phase.once else "") + ", ".join(places)


def _needs(phase: Phase) -> str:
    return "; ".join(str(need) for need in (*phase.needs, *phase.settle_needs)) or "-"


def _section(phase: Phase) -> str:
    rows = []
    if phase.operator:
        rows.append(("On the operator's side", what_for(phase.operator)))
    if phase.task:
        rows.append((f"On {_runs_on(phase).removeprefix('operator, ')}", what_for(phase.task)))
    if phase.needs:
        rows.append(("Begins when", "; ".join(map(str, phase.needs))))
    if phase.settle_needs:
        rows.append(("Is through when", "; ".join(map(str, phase.settle_needs))))
    head = f"({phase.name})=\n## {phase.name}\n\nChapter {phase.chapter}: {phase.title}."
    return "\n\n".join((head, told(chapter_of("phases")[phase.name]), definitions(rows)))
