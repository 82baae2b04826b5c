"""What `khw explain` says of a thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.explain.book import chapter_of

if TYPE_CHECKING:
    from khw.phases import Phase


def about_phase(phase: Phase, host: str) -> str:
    """Return what a phase is and why, in a few lines, for who is asked before it begins (on this host first)."""
    entry = chapter_of("phases")[phase.name]
    head = f"chapter {phase.chapter}, {phase.name}: {phase.title} (first on {host})"
    return "\n".join((head, *(f"  {line}" for text in (entry.what, entry.why) for line in text.splitlines())))
