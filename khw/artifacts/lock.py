"""
What khw installs, pinned: the lock file, read into values.

`lock.json` names every binary and image with its version and, per architecture, the project's own release file: its
URL, the member to take from an archive, and its digest. A digest that is null there was not pinned when the lock file
was written; `digest_url` says where the project publishes it (docs/decisions/0013-artifacts.md).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, cast

from khw.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ARCHITECTURES = ("amd64", "arm64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A project's own release file for one architecture, or an image in a registry."""

    url: str
    digest: str | None = None  # "sha256:…" or "sha512:…"; None: not pinned
    digest_url: str = ""
    member: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One binary or image of the lock file."""

    name: str
    kind: Literal["binary", "image"]
    version: str
    recipe: str
    reference: str = ""
    upstream: Mapping[str, Release]

    @property
    def file(self) -> str:
        """What its file is called: the binary's name, or NAME.tar for an image."""
        return f"{self.name}.tar" if self.kind == "image" else self.name

    def release(self, architecture: str) -> Release:
        """Return the release file for this architecture."""
        try:
            return self.upstream[architecture]
        except KeyError:
            msg = f"{self.name} {self.version} is not in the lock file for {architecture}"
            raise UsageError(msg, hint=f"it has {', '.join(sorted(self.upstream))}") from None


@dataclass(frozen=True, slots=True)
class Lock:
    """All entries, by name."""

    entries: Mapping[str, Entry]

    def entry(self, name: str) -> Entry:
        """Return the entry of this name."""
        try:
            return self.entries[name]
        except KeyError:
            msg = f"no artifact is called {name!r}"
            raise UsageError(msg, hint=f"the lock file has {', '.join(self.entries)}") from None


def read(path: Path | None = None) -> Lock:
    """Read a lock file; without a path, the one that khw ships."""
    source = path or resources.files("khw.artifacts").joinpath("lock.json")
    rows = cast("dict[str, dict[str, Any]]", json.loads(source.read_text("utf-8"))["artifacts"])
    return Lock({name: _entry(name, row) for name, row in rows.items()})


def _entry(name: str, row: dict[str, Any]) -> Entry:
    releases = {architecture: Release(**release) for architecture, release in row.pop("upstream").items()}
    return Entry(name=name, upstream=releases, **row)


@cache
def shipped() -> Lock:
    """Return the lock file that khw ships, read once."""
    return read()


def entry(name: str) -> Entry:
    """Return the entry of this name in the lock file that khw ships."""
    return shipped().entry(name)
