"""
Where artifacts are kept on the operator's machine: `NAME/VERSION/ARCHITECTURE/FILE` with a record beside it.

What is kept here was checked before it came in, and is checked again whenever it is read: a file whose digest is not
the one on record is an error, never used. An entry comes into being by one rename, so that several processes (and a
process that is killed) never leave half of one. What a process has in work lies in `.scratch`, held by a lock that
dies with it, and is cleared away by the next.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from khw.errors import DigestError, SpaceError
from khw.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.artifacts.lock import Entry

RECORD = "record.json"
STAMP = ".checked"
SCRATCH = ".scratch"
FULL = (errno.ENOSPC, errno.EDQUOT)
SETTLED = 0.1  # seconds after which a further change of a file shows in its ctime, whatever the kernel's tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of a kept file: its digest, and where it came from."""

    name: str
    version: str
    architecture: str
    sha256: str
    size: int
    source: str  # upstream, mirror, build or bundle
    origin: str  # the URL, or the toolchain and module
    upstream_digest: str = ""  # the release file's own, as checked when it came


@dataclass(frozen=True, slots=True)
class Kept:
    """A file in the cache and its record."""

    path: Path
    record: Record


def default_directory() -> Path:
    """Return where artifacts are kept: $KHW_CACHE, or the user's cache directory."""
    override = os.environ.get("KHW_CACHE")
    return Path(override) if override else platformdirs.user_cache_path("khw") / "artifacts"


def sha256_of(path: Path) -> str:
    """Return the file's sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def room_for(needed: int, directory: Path, what: str) -> Iterator[None]:
    """Turn 'no space left' into an error that names the directory and the bytes that it takes."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise no_space(needed, directory, what) from error


def no_space(needed: int, directory: Path, what: str) -> SpaceError:
    """Return the error for a disk that is full; of a working directory, which is gone by then, it names the cache."""
    if SCRATCH in directory.parts:
        directory = Path(*directory.parts[: directory.parts.index(SCRATCH)])
    free = shutil.disk_usage(directory).free if directory.exists() else 0
    need = f"{needed:,} bytes are needed" if needed else "more is needed"
    return SpaceError(
        f"no space left for {what} in {directory}: {need}, {free:,} are free",
        hint="make room there, or take a directory on a larger disk (for the cache: KHW_CACHE)",
    )


class Cache:
    """The kept artifacts below one directory; safe for several threads and processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def directory(self, entry: Entry, architecture: str) -> Path:
        """Return where this artifact is kept, whether or not it is there."""
        return self.root / entry.name / entry.version / architecture

    def find(self, entry: Entry, architecture: str) -> Kept | None:
        """Return what is kept of this artifact, without checking its content."""
        directory = self.directory(entry, architecture)
        try:
            record = Record(**json.loads((directory / RECORD).read_text("utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError):
            msg = f"the record of {entry.name} in {directory} cannot be read"
            raise DigestError(msg, hint=f"delete {directory} and run again") from None
        path = directory / entry.file
        return Kept(path, record) if path.exists() else None

    def read(self, entry: Entry, architecture: str, *, thorough: bool = False) -> Kept | None:
        """
        Return what is kept of this artifact, its content checked; None if there is nothing.

        A file whose inode, size and times are those of its last check is not hashed again unless `thorough`: a change
        of its content changes its ctime, which nobody can set.
        """
        kept = self.find(entry, architecture)
        if kept is None:
            return None
        stamp = kept.path.parent / STAMP
        if not thorough and _unchanged(kept.path, stamp):
            return kept
        seen = sha256_of(kept.path)
        if seen != kept.record.sha256:
            raise DigestError(
                f"{entry.name} {entry.version} in the cache is not what came in: {kept.path}: "
                f"expected sha256 {kept.record.sha256}, seen {seen}",
                hint=f"something changed it or the disk is failing; delete {kept.path.parent} and run again",
            )
        _stamp(kept.path, stamp)
        return kept

    def publish(  # noqa: PLR0913 - a record's fields, each named by the caller
        self,
        entry: Entry,
        architecture: str,
        file: Path,
        *,
        source: str,
        origin: str,
        upstream_digest: str = "",
    ) -> Kept:
        """Move a checked file into the cache, by one rename, in place of what was there."""
        record = Record(
            name=entry.name,
            version=entry.version,
            architecture=architecture,
            sha256=sha256_of(file),
            size=file.stat().st_size,
            source=source,
            origin=origin,
            upstream_digest=upstream_digest,
        )
        home = self.directory(entry, architecture)
        with self.scratch() as scratch, room_for(record.size, self.root, entry.name):
            new, old = scratch / "new", scratch / "old"
            new.mkdir()
            file.chmod(0o755 if entry.kind == "binary" else 0o644)
            shutil.move(file, new / entry.file)
            write_atomically(new / RECORD, json.dumps(asdict(record), indent=2).encode() + b"\n")
            home.parent.mkdir(parents=True, exist_ok=True)
            if home.exists():
                home.rename(old)
            new.rename(home)
        return Kept(home / entry.file, record)

    @contextmanager
    def exclusive(self, key: str) -> Iterator[None]:
        """Hold the one lock of this key, against other threads and other processes."""
        path = self.root / ".locks" / re.sub(r"[^\w.-]", "_", key)
        with room_for(0, self.root, "a lock"):
            path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make a directory beside the kept files to work in; it goes when the work ends, or its process does."""
        base = self.root / SCRATCH
        with room_for(0, self.root, "a working directory"), self.exclusive("scratch"):
            base.mkdir(parents=True, exist_ok=True)
            _clear_abandoned(base)
            directory = Path(tempfile.mkdtemp(dir=base))
            holder = (directory / ".held").open("w")
            fcntl.flock(holder, fcntl.LOCK_EX)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            holder.close()


def _clear_abandoned(base: Path) -> None:
    for directory in base.iterdir():
        try:
            with (directory / ".held").open("w") as holder:
                fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
        except BlockingIOError:
            continue
        except FileNotFoundError:
            shutil.rmtree(directory, ignore_errors=True)


def _identity(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _unchanged(path: Path, stamp: Path) -> bool:
    try:
        return bool(json.loads(stamp.read_text("utf-8")) == _identity(path))
    except (OSError, ValueError):
        return False


def _stamp(path: Path, stamp: Path) -> None:
    if time.time() - path.stat().st_ctime < SETTLED:
        return
    try:
        write_atomically(stamp, json.dumps(_identity(path)).encode())
    except OSError:  # a cache that cannot be written to is hashed each time
        return
