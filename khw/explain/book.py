"""
The texts of `khw explain`, read from `book/*.toml`: one file a component, or a kind of thing.

In the file of a component (`etcd.toml`, `kubelet.toml` …) a table is a flag of its command line or, under [fields], a
field of its configuration. In `phases.toml`, `files.toml`, `certificates.toml` and `checks.toml` it is one of those.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    What is to be said of one thing; `source` is the page that it can be read in.

    A check also has the `likely` cause of its failure and the command that shows it (`show`, with {node}, {subject}).
    """

    name: str
    what: str
    why: str
    breaks: str
    source: str = ""
    chapter: int = 0
    likely: str = ""
    show: str = ""


@cache
def chapter_of(book: str, table: str = "") -> dict[str, Entry]:
    """Return the entries of `book`.toml by name, in its order; `table` names a table of tables inside it."""
    text = resources.files("khw.explain").joinpath("book", f"{book}.toml").read_text("utf-8")
    rows: dict[str, Any] = tomllib.loads(text)
    if table:
        rows = rows.get(table, {})
    return {name: _entry(name, row) for name, row in rows.items() if "what" in row}


def _entry(name: str, row: dict[str, Any]) -> Entry:
    values: dict[str, Any] = {key: value.strip() if isinstance(value, str) else value for key, value in row.items()}
    return Entry(name=name, **values)


def check_entry(check: str, subject: str = "") -> Entry | None:
    """Return what is to be said of a check, or of one subject of it that has an entry of its own."""
    rows = chapter_of("checks")
    return rows.get(f"{check} {subject}".rstrip()) or rows.get(check)
