"""Every flag and field that khw sets, from the book of `khw explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from from_code.markdown import definitions
from from_code.told import told
from khw.explain.book import FLAGS, chapter_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from khw.explain.book import Entry

HEAD = """\
# Flags and fields

What khw sets of each component, what for, and what breaks without it. The same, with the value on your cluster, is
what `khw explain` says of a flag's or a field's name.
"""


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for component, books in FLAGS.items():
        flags = {name: entry for book in books for name, entry in chapter_of(book).items()}
        fields = {name: entry for book in books for name, entry in chapter_of(book, "fields").items()}
        parts.append(f"## {component}")
        if flags:
            parts.append("### Flags\n\n" + definitions(_rows(flags, "--")))
        if fields:
            parts.append("### Fields\n\n" + definitions(_rows(fields, "")))
    return "\n\n".join(parts) + "\n"


def _rows(entries: Mapping[str, Entry], prefix: str) -> Iterator[tuple[str, str]]:
    for name, entry in sorted(entries.items()):
        yield f"`{prefix}{name}`", told(entry)
