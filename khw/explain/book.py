"""
The texts of `khw explain`, read from `book/*.toml`: one file a component, or a kind of thing.

In the file of a component (`etcd.toml`, `kubelet.toml` …) a table is a flag of its command line or, under [fields], a
field of its configuration. In `phases.toml`, `files.toml`, `certificates.toml` and `checks.toml` it is one of those, in
`systemd.toml` an option of a unit file.
Keys at the top of a file hold for all of its tables that do not say otherwise.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib import resources
from typing import Any

FLAGS: Mapping[str, tuple[str, ...]] = {
    "etcd": ("etcd",),
    "kube-apiserver": ("kube-apiserver", "serving"),
    "kube-controller-manager": ("kube-controller-manager", "serving"),
    "kube-scheduler": ("kube-scheduler", "serving"),
    "containerd": ("containerd",),
    "kubelet": ("kubelet", "serving"),
    "kube-proxy": ("kube-proxy",),
    "haproxy": ("haproxy",),
    "keepalived": ("keepalived",),
}
"""Component (a unit's name without .service) → the files in which its flags are looked up, in this order."""


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
def chapter_of(book: str, table: str = "") -> Mapping[str, Entry]:
    """Return the entries of `book`.toml by name, in its order; `table` names a table of tables inside it."""
    text = resources.files("khw.explain").joinpath("book", f"{book}.toml").read_text("utf-8")
    whole: dict[str, Any] = tomllib.loads(text)
    common = {key: value for key, value in whole.items() if not isinstance(value, dict)}
    rows = whole.get(table, {}) if table else whole
    return {name: _entry(name, common | row) for name, row in rows.items() if isinstance(row, dict) and "what" in row}


def _entry(name: str, row: dict[str, Any]) -> Entry:
    values: dict[str, Any] = {key: value.strip() if isinstance(value, str) else value for key, value in row.items()}
    return Entry(name=name, **values)


def words() -> list[str]:
    """Return the names of everything that there are texts of and that is the same in every cluster."""
    kinds = [*chapter_of("phases"), *chapter_of("certificates"), *chapter_of("files")]
    kinds += chapter_of("systemd")
    kinds += [name.lower().replace(" ", "-") for name in chapter_of("checks")]
    for name in dict.fromkeys(name for names in FLAGS.values() for name in names):
        kinds += [*chapter_of(name), *chapter_of(name, "fields")]
    return [name for name in dict.fromkeys(kinds) if "*" not in name and not name.endswith("-NODE")]


def phase_entry(name: str) -> Entry | None:
    """Return what is to be said of a phase."""
    return chapter_of("phases").get(name)


def flag_entry(component: str, flag: str) -> Entry | None:
    """Return what is to be said of a component's flag (without dashes)."""
    found = (chapter_of(book).get(flag) for book in FLAGS.get(component, ()))
    return next((entry for entry in found if entry), None)


def field_entry(component: str, field: str) -> Entry | None:
    """Return what is to be said of a field in a component's configuration."""
    return chapter_of(component, "fields").get(field) if component in FLAGS else None


def option_entry(option: str) -> Entry | None:
    """Return what is to be said of an option in a unit file."""
    return chapter_of("systemd").get(option)


def file_entry(path: str) -> Entry | None:
    """Return what is to be said of a path on a node, or of a set of objects by its name."""
    rows = chapter_of("files")
    if path in rows:
        return rows[path]
    return next((entry for pattern, entry in rows.items() if "*" in pattern and fnmatch(path, pattern)), None)


def certificate_entry(name: str) -> Entry | None:
    """Return what is to be said of an identity or an authority (NAME-ca)."""
    rows = chapter_of("certificates")
    kind = next((kind for kind in ("kubelet", "etcd") if name.startswith(f"{kind}-") and not name.endswith("-ca")), "")
    return rows.get(name) or (rows.get(f"{kind}-NODE") if kind else None)


def check_entry(check: str, subject: str = "") -> Entry | None:
    """Return what is to be said of a check, or of one subject of it that has an entry of its own."""
    rows = chapter_of("checks")
    return rows.get(f"{check} {subject}".rstrip()) or rows.get(check)
