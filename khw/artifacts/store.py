"""
The one door to artifacts: from the cache, or from the first source that has it.

A source that cannot be reached gives way to the next; one that answers with the wrong content does not: a wrong digest
ends it. What every source said is in the error if none had it.
"""

from __future__ import annotations

import gzip
import os
import shutil
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from khw.artifacts import lock as lock_file
from khw.artifacts.cache import Cache, default_directory, room_for
from khw.artifacts.progress import Progress, silent
from khw.errors import ArtifactError, DigestError, SpaceError, ToolchainError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.artifacts.cache import Kept
    from khw.artifacts.fetched import Source
    from khw.artifacts.lock import Entry, Lock

SourceName = Literal["cache", "mirror", "upstream", "build"]
Form = Literal["zstd", "gzip"]
DEFAULT_SOURCES: tuple[SourceName, ...] = ("cache", "upstream", "build")
SUFFIXES: dict[Form, str] = {"zstd": ".zst", "gzip": ".gz"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A binary or an image (an OCI archive) on this machine, its content checked."""

    name: str
    version: str
    path: Path
    sha256: str
    size: int
    source: str  # which source served it now
    reference: str = ""
    architecture: str = "amd64"
    origin: str = ""  # where it first came from: "upstream: URL", "build: go1.26.8, …"


class Store:
    """Artifacts by name; safe for several threads and processes at once."""

    def __init__(
        self,
        sources: Sequence[str] = DEFAULT_SOURCES,
        mirror: str | None = None,
        cache_dir: Path | None = None,
        *,
        lock: Lock | None = None,
        upstream: str = "",
    ) -> None:
        """Take `upstream` in place of the projects' own sites: https://HOST/PATH is asked of UPSTREAM/HOST/PATH."""
        self.lock = lock or lock_file.shipped()
        self.cache = Cache(cache_dir or default_directory())
        self.from_cache = "cache" in sources
        self._upstream = upstream
        self._mirror = mirror
        self._names = [name for name in sources if name != "cache"]
        _require_usable(self._names, mirror)
        if mirror and "mirror" in self._names:
            _ = self._sources  # a place that is not there is told before anything is begun
        self._known: dict[tuple[str, str], Artifact] = {}
        self._locks: dict[tuple[str, str], threading.Lock] = {}

    def get(self, name: str, architecture: str = "amd64", progress: Progress = silent) -> Artifact:
        """Return this artifact; it is fetched or built if the cache does not have it."""
        entry = self.lock.entry(name)
        key = (name, architecture)
        with self._locks.setdefault(key, threading.Lock()):
            if key not in self._known:
                self._known[key] = self._obtain(entry, architecture, progress)
            return self._known[key]

    def cached(self, name: str, architecture: str = "amd64", *, thorough: bool = False) -> Artifact | None:
        """Return this artifact if the cache has it, its content checked; nothing is fetched."""
        entry = self.lock.entry(name)
        kept = self._kept(entry, architecture, thorough=thorough)
        return _artifact(entry, kept, "cache") if kept else None

    def digest(self, name: str, architecture: str = "amd64") -> str:
        """Return the sha256 on record, '' if it is not in the cache; nothing is fetched or written."""
        entry = self.lock.entry(name)
        kept = self.cache.find(entry, architecture)
        return kept.record.sha256 if kept and self._is_pinned(entry, architecture, kept) else ""

    def fetch(
        self,
        names: Iterable[str] = (),
        architecture: str = "amd64",
        *,
        forms: Sequence[Form] = (),
        progress: Progress = silent,
    ) -> list[Artifact]:
        """Get all of these (all of the lock file without names), and compress them ahead of time."""
        artifacts = []
        for name in tuple(names) or tuple(self.lock.entries):
            artifact = self.get(name, architecture, progress)
            for form in forms:
                self.compressed(artifact, form)
            artifacts.append(artifact)
        return artifacts

    def compressed(self, artifact: Artifact, form: Form) -> Path:
        """Return the artifact's file compressed, made once and kept beside it under its digest."""
        if form not in get_args(Form):
            msg = f"no compression is called {form!r}"
            raise UsageError(msg, hint="zstd or gzip")
        target = artifact.path.parent / f"{artifact.sha256}{SUFFIXES[form]}"
        if target.exists():
            return target
        with self.cache.exclusive(f"{artifact.sha256}{SUFFIXES[form]}"), self.cache.scratch() as scratch:
            if not target.exists():
                part = scratch / target.name
                with room_for(artifact.size // 3, self.cache.root, f"{artifact.name} compressed"):
                    _compress(artifact.path, part, form)
                part.replace(target)
        return target

    @staticmethod
    def compressed_size(artifact: Artifact, form: Form) -> int:
        """Return how large that file is; 0 if it is not made yet."""
        target = artifact.path.parent / f"{artifact.sha256}{SUFFIXES[form]}"
        return target.stat().st_size if target.exists() else 0

    def _obtain(self, entry: Entry, architecture: str, progress: Progress) -> Artifact:
        entry.release(architecture)  # an architecture that the lock file does not have is an error before all else
        if self.from_cache and (kept := self._kept(entry, architecture)):
            return _artifact(entry, kept, "cache")
        with self.cache.exclusive(f"{entry.name}-{architecture}"):
            if self.from_cache and (kept := self._kept(entry, architecture)):  # another process was quicker
                return _artifact(entry, kept, "cache")
            return self._from_sources(entry, architecture, progress)

    def _kept(self, entry: Entry, architecture: str, *, thorough: bool = False) -> Kept | None:
        kept = self.cache.read(entry, architecture, thorough=thorough)
        return kept if kept and self._is_pinned(entry, architecture, kept) else None

    @staticmethod
    def _is_pinned(entry: Entry, architecture: str, kept: Kept) -> bool:
        """Whether the lock file has pinned no other file since."""
        pinned, record = entry.release(architecture).digest, kept.record
        released = record.source == "upstream" or (record.source == "bundle" and record.upstream_digest)
        return not (released and pinned and record.upstream_digest != pinned)

    def _from_sources(self, entry: Entry, architecture: str, progress: Progress) -> Artifact:
        failures: list[tuple[str, ArtifactError]] = []
        for source in self._sources:
            try:
                with self.cache.scratch() as scratch, room_for(0, self.cache.root, entry.name):
                    fetched = source.fetch(entry, architecture, scratch, progress)
                    kept = self.cache.publish(
                        entry,
                        architecture,
                        fetched.path,
                        source=source.name,
                        origin=fetched.origin,
                        upstream_digest=fetched.upstream_digest,
                    )
                return _artifact(entry, kept, source.name)
            except (DigestError, SpaceError):
                raise
            except ArtifactError as error:
                failures.append((source.name, error))
        raise _none_has_it(entry, architecture, failures)

    @cached_property
    def _sources(self) -> list[Source]:
        """Made when the cache lacks something: they take HTTP and TLS to import."""
        return [self._source(name) for name in self._names]

    def _source(self, name: str) -> Source:
        if name == "build":
            from khw.artifacts.build import Build

            return Build(self.cache)
        if name == "upstream":
            from khw.artifacts.upstream import Upstream

            return Upstream(self.cache, self._upstream)
        from khw.artifacts.mirror import Mirror

        return Mirror(self.cache, self._mirror or "")


def _require_usable(names: Sequence[str], mirror: str | None) -> None:
    for name in names:
        if name not in get_args(SourceName):
            msg = f"no artifact source is called {name!r}"
            raise UsageError(msg, hint="cache, mirror, upstream or build")
    if "mirror" in names and not mirror:
        msg = "artifacts.sources has mirror, but artifacts.mirror does not say where it is"
        raise UsageError(msg, hint="give a directory or an http(s) URL")


def _artifact(entry: Entry, kept: Kept, source: str) -> Artifact:
    record = kept.record
    return Artifact(
        name=entry.name,
        version=entry.version,
        path=kept.path,
        sha256=record.sha256,
        size=record.size,
        source=source,
        reference=entry.reference,
        architecture=record.architecture,
        origin=f"{record.source}: {record.origin}",
    )


def _none_has_it(entry: Entry, architecture: str, failures: list[tuple[str, ArtifactError]]) -> ArtifactError:
    what = f"{entry.name} {entry.version} for {architecture}"
    if not failures:
        msg = f"{what} is not in the cache, and no other source may be asked"
        return ArtifactError(msg, hint="add upstream, mirror or build to artifacts.sources in khw.yaml")
    said = "; ".join(f"{name}: {error.message}" for name, error in failures)
    hints = dict.fromkeys(error.hint for _, error in failures if error.hint)
    kind = ToolchainError if isinstance(failures[-1][1], ToolchainError) else ArtifactError
    return kind(f"{what} cannot be had from any source: {said}", hint="; or ".join(hints))


def _compress(source: Path, target: Path, form: Form) -> None:
    if form == "gzip":
        with (
            source.open("rb") as plain,
            target.open("wb") as raw,
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=4, mtime=0) as zipped,
        ):
            shutil.copyfileobj(plain, zipped, 1 << 20)
        return
    import zstandard

    compressor = zstandard.ZstdCompressor(level=3, threads=os.cpu_count() or 1)
    with source.open("rb") as plain, target.open("wb") as packed:
        compressor.copy_stream(plain, packed, size=source.stat().st_size)
