"""What the book of `khw explain` says of a thing, as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from from_code.markdown import mark_code

if TYPE_CHECKING:
    from khw.explain.book import Entry


def told(entry: Entry) -> str:
    """Return what it is, why it is there and what breaks without it, as paragraphs."""
    parts = [mark_code(entry.what), mark_code(entry.why)]
    if entry.breaks:
        parts.append(f"*Without it:* {mark_code(entry.breaks)}")
    if entry.source:
        parts.append(f"*Read more:* {mark_code(entry.source)}")
    return "\n\n".join(" ".join(part.split()) for part in parts if part)
