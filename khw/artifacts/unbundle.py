"""
Take a bundle into the cache: all of it, or nothing.

The index comes first in it: whether this khw can use the bundle is known before anything is written. What is read goes
into the cache's scratch, each file hashed on its way; only when all are there and right do they come into the cache,
each by a rename.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from khw.artifacts.bundle import FORMAT, SUMS
from khw.artifacts.cache import room_for
from khw.artifacts.mirror import INDEX
from khw.artifacts.progress import Progress, megabytes, silent
from khw.artifacts.upstream import check
from khw.errors import ArtifactError, DigestError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from khw.artifacts.store import Store

MAGIC = b"\x28\xb5\x2f\xfd"  # how a zstd frame begins (RFC 8878)
LARGEST_INDEX = 10_000_000  # bytes
CHUNK = 1 << 20
AGAIN = "write it again with `khw artifacts bundle` of this khw"

TakeImage: TypeAlias = Callable[[str, Path], None]
"""What becomes of the image of a lab's machine: its name, and its archive, which is gone afterwards."""


def load(store: Store, file: Path, *, take_image: TakeImage | None = None, progress: Progress = silent) -> list[str]:
    """
    Put what is in the bundle into the cache; return what came in that was not there before.

    ArtifactError if it is no bundle, is cut off, or is another khw's; DigestError if a file in it is not what its index
    says, or not what this khw's lock file pins. Then the cache is as it was.
    """
    with store.cache.scratch() as scratch, _opened(file) as archive:
        try:
            index = _index(archive, file)
            rows = _usable(store, index, file)
            listed = _listed(rows, index)
            room = sum(row["size"] for row in listed.values())
            with room_for(room, store.cache.root, file.name):
                _unpack(archive, file, listed, scratch, progress)
        except (tarfile.TarError, EOFError) as error:
            raise _cut_off(file, str(error)) from None
        for image in index.get("lab_images", []):
            if take_image:
                take_image(image["name"], scratch / image["path"])
        return [row["name"] for row in rows if _take(store, row, scratch / row["path"])]


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    import zstandard

    if not file.is_file():
        msg = f"{file} is not a file"
        raise UsageError(msg, hint="name what `khw artifacts bundle -o FILE` wrote; a directory is a mirror (khw.yaml)")
    with file.open("rb") as raw:
        packed = raw.read(len(MAGIC)) == MAGIC
        raw.seek(0)
        stream: IO[bytes] = zstandard.ZstdDecompressor().stream_reader(raw) if packed else raw
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                yield archive
        except tarfile.ReadError as error:
            msg = f"{file} is no bundle of khw's: {error}"
            raise ArtifactError(msg, hint=AGAIN) from None
        except zstandard.ZstdError as error:
            raise _cut_off(file, str(error)) from None


def _index(archive: tarfile.TarFile, file: Path) -> Mapping[str, Any]:
    first = archive.next()
    content = archive.extractfile(first) if first and first.name == INDEX and first.size < LARGEST_INDEX else None
    if content is None:
        msg = f"{file} is no bundle of khw's: it does not begin with {INDEX}"
        raise ArtifactError(msg, hint=AGAIN)
    try:
        index: Mapping[str, Any] = json.loads(content.read())
        known = index["format"] == FORMAT and bool(index["artifacts"])
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        msg = f"the index of {file} is not one that this khw reads"
        raise ArtifactError(msg, hint=AGAIN)
    return index


def _usable(store: Store, index: Mapping[str, Any], file: Path) -> list[dict[str, Any]]:
    """Return the rows of what the lock file pins; an error where it pins other versions, or what is not in it."""
    rows = {(row["name"], row["architecture"]): row for row in index["artifacts"]}
    found, off = [], []
    for architecture in sorted({architecture for _, architecture in rows}):
        for entry in store.lock.entries.values():
            row = rows.get((entry.name, architecture))
            if row is None:
                off.append(f"no {entry.name} for {architecture}")
            elif row["version"] != entry.version:
                off.append(f"{entry.name} {row['version']}, not {entry.version}")
            else:
                pinned = entry.release(architecture).digest
                if pinned and row.get("upstream_digest"):
                    check(entry, f"the index of {file}", pinned, row["upstream_digest"], pinned=True)
                found.append(row)
    if off:
        more = f" (and {len(off) - 3} more)" if len(off) > 3 else ""
        msg = f"{file} is another khw's: it has {'; '.join(off[:3])}{more}"
        raise ArtifactError(msg, hint=AGAIN)
    return found


def _listed(rows: list[dict[str, Any]], index: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what is to be unpacked, by path."""
    listed = {row["path"]: row for row in (*rows, *index.get("lab_images", []))}
    for path in listed:
        if Path(path).is_absolute() or ".." in Path(path).parts:
            msg = f"the index names a path that leads out of the bundle: {path}"
            raise ArtifactError(msg, hint=AGAIN)
    return listed


def _unpack(
    archive: tarfile.TarFile, file: Path, listed: Mapping[str, dict[str, Any]], scratch: Path, progress: Progress
) -> None:
    missing = dict(listed)
    for member in archive:
        row = missing.pop(member.name, None)
        content = archive.extractfile(member) if row else None
        if row is None or content is None:
            continue  # the sums, the SBOM, or what a newer khw's lock file has beside
        seen = _copy(content, scratch / member.name)
        if seen != row["sha256"]:
            msg = f"{member.name} in {file} is not what its index says: expected sha256 {row['sha256']}, seen {seen}"
            raise DigestError(msg, hint=f"it changed on its way: copy it again, or {AGAIN}")
        progress(f"{member.name}: {megabytes(row['size'])}")
    if missing:
        raise _cut_off(file, f"{next(iter(missing))} is not in it")


def _copy(content: IO[bytes], target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with target.open("wb") as out:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()


def _take(store: Store, row: dict[str, Any], file: Path) -> bool:
    """Publish one file; False if the cache has just that already, every byte of it."""
    entry, architecture = store.lock.entry(row["name"]), row["architecture"]
    try:
        kept = store.cache.read(entry, architecture, thorough=True)
    except DigestError:  # what is there is broken: this takes its place
        kept = None
    if kept and kept.record.sha256 == row["sha256"]:
        return False
    store.cache.publish(
        entry,
        architecture,
        file,
        source="bundle",
        origin=f"{row['source']}: {row['origin']}",
        upstream_digest=row.get("upstream_digest", ""),
    )
    return True


def _cut_off(file: Path, why: str) -> ArtifactError:
    return ArtifactError(
        f"{file} is not whole: {why}", hint=f"copy it again (`sha256sum` on both sides, {SUMS} is in it), or {AGAIN}"
    )
