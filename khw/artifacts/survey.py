"""What the cache has of the lock file: the rows of `khw artifacts list` and `khw artifacts verify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from khw.errors import DigestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.artifacts.lock import Entry
    from khw.artifacts.store import Store

State = Literal["present", "missing", "wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One artifact for one architecture, as far as it is here."""

    name: str
    kind: str
    version: str
    architecture: str
    state: State
    size: int = 0
    sha256: str = ""
    source: str = ""  # where it came from: upstream, mirror or build
    origin: str = ""
    reference: str = ""
    path: str = ""
    problem: str = ""


def listed(store: Store, architectures: Iterable[str] = ("amd64",)) -> list[Row]:
    """Return what is here, by the records alone."""
    return [
        _row(store, entry, architecture, check=False)
        for architecture in architectures
        for entry in store.lock.entries.values()
    ]


def verified(store: Store, architectures: Iterable[str] = ("amd64",)) -> list[Row]:
    """Return what is here with every byte of it checked: `wrong` rows carry the problem."""
    return [
        _row(store, entry, architecture, check=True)
        for architecture in architectures
        for entry in store.lock.entries.values()
    ]


def _row(store: Store, entry: Entry, architecture: str, *, check: bool) -> Row:
    try:
        kept = store.cache.find(entry, architecture)
        if kept and check:
            store.cache.read(entry, architecture, thorough=True)
    except DigestError as error:
        return _bare(entry, architecture, "wrong", f"{error.message}; {error.hint}")
    if kept is None:
        return _bare(entry, architecture, "missing")
    record = kept.record
    return Row(
        name=entry.name,
        kind=entry.kind,
        version=entry.version,
        architecture=architecture,
        state="present",
        size=record.size,
        sha256=record.sha256,
        source=record.source,
        origin=record.origin,
        reference=entry.reference,
        path=str(kept.path),
    )


def _bare(entry: Entry, architecture: str, state: State, problem: str = "") -> Row:
    return Row(
        name=entry.name,
        kind=entry.kind,
        version=entry.version,
        architecture=architecture,
        state=state,
        reference=entry.reference,
        problem=problem,
    )
