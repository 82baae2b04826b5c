"""
Write a mirror: what `khw artifacts bundle` carries to a machine without internet.

The files lie as in the cache, with an index.json that khw reads and a SHA256SUMS that `sha256sum -c` reads. A target
that ends in .tar becomes one file of the same.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from khw.artifacts.cache import room_for
from khw.artifacts.mirror import INDEX
from khw.artifacts.progress import Progress, megabytes, silent
from khw.errors import ArtifactError, UsageError
from khw.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.artifacts.store import Artifact, Store

SUMS = "SHA256SUMS"


def write(
    store: Store,
    to: Path,
    *,
    names: Iterable[str] = (),
    architectures: Sequence[str] = ("amd64",),
    progress: Progress = silent,
) -> list[Artifact]:
    """Write these artifacts (all of the lock file without names) as a mirror; get first what is not here."""
    if to.suffix == ".tar":
        return _write_tar(store, to, names, architectures, progress)
    if to.exists() and not to.is_dir():
        msg = f"{to} exists and is not a directory"
        raise UsageError(msg, hint="name a directory, or a file that ends in .tar")
    wanted = tuple(names)
    artifacts = [
        artifact for architecture in architectures for artifact in store.fetch(wanted, architecture, progress=progress)
    ]
    rows = [_row(store, artifact) for artifact in artifacts]
    for artifact, row in zip(artifacts, rows, strict=True):
        with room_for(artifact.size, to, artifact.name):
            _copy(artifact.path, to / row["path"], 0o755 if row["kind"] == "binary" else 0o644)
        progress(f"{artifact.name} {artifact.version}: {megabytes(artifact.size)}")
    index = {"format": 1, "artifacts": rows}
    with room_for(0, to, "the index"):
        write_atomically(to / INDEX, json.dumps(index, indent=2).encode() + b"\n")
        write_atomically(to / SUMS, "".join(f"{row['sha256']}  {row['path']}\n" for row in rows).encode())
    return artifacts


def _copy(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    target.chmod(mode)


def _write_tar(
    store: Store, to: Path, names: Iterable[str], architectures: Sequence[str], progress: Progress
) -> list[Artifact]:
    with store.cache.scratch() as scratch:
        artifacts = write(store, scratch / "mirror", names=names, architectures=architectures, progress=progress)
        part = to.with_name(f".{to.name}.part")
        try:
            with room_for(sum(a.size for a in artifacts), to.parent, to.name), tarfile.open(part, "w") as archive:
                archive.add(scratch / "mirror", arcname=".")
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)
    return artifacts


def _row(store: Store, artifact: Artifact) -> dict[str, Any]:
    entry = store.lock.entry(artifact.name)
    kept = store.cache.find(entry, artifact.architecture)
    if kept is None:
        msg = f"{artifact.name} left the cache while the bundle was written"
        raise ArtifactError(msg, hint="run again")
    path = artifact.path.relative_to(store.cache.root).as_posix()
    return {**asdict(kept.record), "kind": entry.kind, "path": path}
