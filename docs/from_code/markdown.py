"""Markdown from values: tables, definitions, and the first sentence of a docstring."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a bar in a cell is escaped."""
    lines = [headers, ["--"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def definitions(rows: Iterable[tuple[str, str]]) -> str:
    """Return a definition list of (term, text)."""
    return "\n\n".join(f"{term}\n: " + text.replace("\n", "\n  ") for term, text in rows)


def code(text: str) -> str:
    """Return text that is typed, as such."""
    return f"`{text}`" if text else ""


def what_for(thing: object) -> str:
    """Return the first paragraph of a docstring, in one line."""
    text = inspect.getdoc(thing) or ""
    return re.sub(r"\s+", " ", text.partition("\n\n")[0]).strip()


def mark_code(text: str) -> str:
    """Return help text with what would be taken for Markdown as it stands."""
    return re.sub(r"([*_<>\[\]])", r"\\\1", text)
