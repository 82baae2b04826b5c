"""
Write a bundle: everything that khw puts on nodes, for a machine without internet, with an index of digests and an SBOM.

One file (`.tar.zst` or `.tar`), or a directory of the same, which is a mirror. The same artifacts make the same bytes.
The index is the first member, so that `khw.artifacts.unbundle` knows what it reads before it writes; the files lie as
in the cache, and `SHA256SUMS` is for `sha256sum -c`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from khw.artifacts import sbom
from khw.artifacts.cache import room_for, sha256_of
from khw.artifacts.mirror import INDEX
from khw.artifacts.progress import Progress, megabytes, silent
from khw.errors import ArtifactError, UsageError
from khw.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from khw.artifacts.store import Artifact, Store

FORMAT = 1
SUMS = "SHA256SUMS"
SBOM = "sbom.cdx.json"
LEVEL = 3

Put: TypeAlias = Callable[[str, "Path | bytes", int], None]
"""How a member is written: its name, its file or content, its mode."""


@dataclass(frozen=True, slots=True)
class _Member:
    path: str
    content: Path | bytes
    mode: int
    size: int
    sha256: str


def write(  # noqa: PLR0913 - what is in it, each by keyword
    store: Store,
    to: Path,
    *,
    names: Iterable[str] = (),
    architectures: Sequence[str] = ("amd64",),
    lab_images: Mapping[str, Path] | None = None,
    progress: Progress = silent,
) -> list[Artifact]:
    """
    Write these artifacts (all of the lock file without names) as a bundle; get first what is not here.

    `lab_images` are archives of the lab's machines, by the image's name.
    """
    if to.exists() and not to.is_dir() and not is_archive(to):
        msg = f"{to} exists and is not a directory"
        raise UsageError(msg, hint="name a directory, or a file that ends in .tar.zst or .tar")
    wanted = tuple(names)
    artifacts = [
        artifact for architecture in architectures for artifact in store.fetch(wanted, architecture, progress=progress)
    ]
    members = _members(store, artifacts, lab_images or {})
    with _target(to, sum(member.size for member in members)) as put:
        for member in members:
            put(member.path, member.content, member.mode)
            if isinstance(member.content, Path):
                progress(f"{member.path}: {megabytes(member.size)}")
    return artifacts


def is_archive(path: Path) -> bool:
    """Whether a bundle of this name is one file."""
    return path.name.endswith((".tar", ".tar.zst"))


def _members(store: Store, artifacts: Sequence[Artifact], lab_images: Mapping[str, Path]) -> list[_Member]:
    """Return what is in the bundle: the index, the sums and the SBOM first, then the files by name."""
    rows = [_row(store, artifact) for artifact in artifacts]
    files = [
        _Member(row["path"], artifact.path, 0o755 if row["kind"] == "binary" else 0o644, row["size"], row["sha256"])
        for artifact, row in zip(artifacts, rows, strict=True)
    ]
    machines = [
        _Member(f"lab/{name}.tar", path, 0o644, path.stat().st_size, sha256_of(path))
        for name, path in sorted(lab_images.items())
    ]
    described = _text(SBOM, sbom.document(store.lock, artifacts))
    index = {
        "format": FORMAT,
        "artifacts": rows,
        "sbom": {"path": SBOM, "sha256": described.sha256, "size": described.size},
        "lab_images": [
            {"name": name, "path": member.path, "sha256": member.sha256, "size": member.size}
            for name, member in zip(sorted(lab_images), machines, strict=True)
        ],
    }
    content = [described, *sorted((*files, *machines), key=lambda member: member.path)]
    sums = "".join(f"{member.sha256}  {member.path}\n" for member in content)
    return [_text(INDEX, json.dumps(index, indent=2) + "\n"), _text(SUMS, sums), *content]


def _text(path: str, text: str) -> _Member:
    data = text.encode()
    return _Member(path, data, 0o644, len(data), hashlib.sha256(data).hexdigest())


def _row(store: Store, artifact: Artifact) -> dict[str, Any]:
    entry = store.lock.entry(artifact.name)
    kept = store.cache.find(entry, artifact.architecture)
    if kept is None:
        msg = f"{artifact.name} left the cache while the bundle was written"
        raise ArtifactError(msg, hint="run again")
    path = artifact.path.relative_to(store.cache.root).as_posix()
    return {**asdict(kept.record), "kind": entry.kind, "path": path}


@contextmanager
def _target(to: Path, size: int) -> Iterator[Put]:
    """Open what is written to; a file appears under its name only when it is whole."""
    if not is_archive(to):
        with room_for(size, to, "the bundle"):
            yield lambda path, content, mode: _put(to / path, content, mode)
        return
    part = to.with_name(f".{to.name}.part")
    try:
        with room_for(size, to.parent, to.name):
            to.parent.mkdir(parents=True, exist_ok=True)
            with _stream(part, packed=to.suffix == ".zst") as raw, tarfile.open(fileobj=raw, mode="w|") as archive:
                yield lambda path, content, mode: _add(archive, path, content, mode)
            part.replace(to)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _stream(part: Path, *, packed: bool) -> Iterator[IO[bytes]]:
    with part.open("wb") as raw:
        if not packed:
            yield raw
            return
        import zstandard

        # with one thread or more the bytes are the same however many there are; with none they are others
        compressor = zstandard.ZstdCompressor(level=LEVEL, threads=os.cpu_count() or 1)
        with compressor.stream_writer(raw, closefd=False) as writer:
            yield writer


def _add(archive: tarfile.TarFile, path: str, content: Path | bytes, mode: int) -> None:
    member = tarfile.TarInfo(path)  # owner root, and no time: the same content makes the same bytes
    member.mode = mode
    if isinstance(content, bytes):
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
        return
    with content.open("rb") as file:
        member.size = content.stat().st_size
        archive.addfile(member, file)


def _put(target: Path, content: Path | bytes, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        write_atomically(target, content, mode)
        return
    try:
        shutil.copyfile(content, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    target.chmod(mode)
