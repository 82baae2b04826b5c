"""What a person reads of `khw explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from khw.output import render

if TYPE_CHECKING:
    from khw.explain.topics import Topic


def topic(said: Topic) -> None:
    """Print one thing: its texts, then as it is here, then by hand."""
    out = render.stdout()
    out.print(Text(said.name, style="bold") + Text(f"  {said.kind}, chapter {said.chapter}", style="dim"))
    for label, text in (("", said.what), ("why", said.why), ("without it", said.breaks), ("read more", said.source)):
        if text:
            head = Text(f"  {label}: " if label else "  ", style="bold" if label else "")
            out.print(head + Text(" ".join(text.split())))
    for label, text in (("on this cluster", said.here), ("by hand", said.by_hand)):
        if text:
            out.print(Text(f"\n  {label}:", style="bold"))
            out.print(Text("\n".join(f"    {line}" for line in text.splitlines())))
    out.print()
