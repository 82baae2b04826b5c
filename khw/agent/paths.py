"""Files and directories: look at them, write them."""

from __future__ import annotations

import contextlib
import glob
import grp
import hashlib
import os
import pwd
import stat
import subprocess
import threading
import zlib
from typing import TYPE_CHECKING, Any, Protocol

from khw.agent.node import FailureError
from khw.agent.relay import MissedError, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.agent.node import Node
    from khw.agent.processes import Processes

PIECE = 1 << 20
REMEMBERED = 64 << 10  # smaller files are hashed each time


class Sink(Protocol):
    """Takes the pieces of a payload."""

    def write(self, piece: bytes) -> None:
        """Take a piece."""

    def finish(self) -> None:
        """There is no other."""


def look(node: Node, path: str, *, digest: bool = False, follow: bool = False) -> dict[str, Any]:
    """Return what is at a path: kind, mode, owner, size, mtime and, if it is a file and asked for, sha256."""
    try:
        status = os.stat(path) if follow else os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return {"kind": "absent"}
    state = {
        "kind": _kind(status.st_mode),
        "mode": stat.S_IMODE(status.st_mode),
        "owner": f"{_user(status.st_uid)}:{_group(status.st_gid)}",
        "size": status.st_size,
        "mtime": status.st_mtime,
    }
    if digest and state["kind"] == "file":
        state["sha256"] = sha256_of(node, path)
    return state


def sha256_of(node: Node, path: str) -> str:
    """Return a file's digest, '' if there is none; that of a big file is remembered until the file changes."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return ""
            key = _identity(status)
            known = node.digests.get(path)
            if known and known[:-1] == key:
                return str(known[-1])
            sha256 = hashlib.sha256()
            for piece in iter(lambda: file.read(PIECE), b""):
                sha256.update(piece)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""
    if status.st_size >= REMEMBERED:
        node.digests.put(path, [*key, sha256.hexdigest()])
    return sha256.hexdigest()


def text_of(path: str, limit: int) -> str | None:
    """Return a small text file's text."""
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
        return None if len(data) > limit or b"\0" in data else data.decode()
    except (OSError, UnicodeDecodeError):
        return None


def write(node: Node, op: dict[str, Any]) -> None:
    """Write the next payload to `op['path']`: beside it first, then checked, then renamed; others may have it too."""
    path, temporary = op["path"], _beside(op["path"])
    try:
        receive(node, temporary, op["encoding"], op["sha256"])
        os.chmod(temporary, op["mode"])
        own(temporary, op["owner"])
        os.replace(temporary, path)
        if op["artifact"]:
            op["port"] = node.shelf.put(path, op["sha256"])
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    status = os.stat(path)
    if status.st_size >= REMEMBERED:
        node.digests.put(path, [*_identity(status), op["sha256"]])


def receive(node: Node, path: str, encoding: str, sha256: str) -> None:
    """Write the next payload, decompressed, to a new private file; fail if its digest is not this one."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as file:
        while ticket := node.session.ticket():
            if _fetched(node, file, ticket, sha256):
                return
        plain = _Plain(file)
        sink: Sink = plain
        if encoding == "gzip":
            sink = _Gzip(plain)
        elif encoding == "zstd":
            sink = _Zstd(plain, node.processes)
        for piece in node.session.payload():
            sink.write(piece)
        sink.finish()
    if plain.sha256.hexdigest() != sha256:
        raise FailureError(
            f"{path}: what arrived is not what was sent: sha256 {plain.sha256.hexdigest()}, not {sha256}"
        )


def _fetched(node: Node, file: Any, ticket: dict[str, Any], sha256: str) -> bool:
    """Whether another node gave the file's content; the operator is told, and knows another way if not."""
    plain = _Plain(file)
    try:
        fetch(ticket, plain.write)
        why, wrong = f"it gave something else: sha256 {plain.sha256.hexdigest()}, not {sha256}", True
    except MissedError as missed:
        why, wrong = str(missed), missed.wrong
    else:
        if plain.sha256.hexdigest() == sha256:
            node.session.tell(event="fetched", bytes=ticket["size"])
            return True
    file.seek(0)
    file.truncate()
    node.session.tell(event="missed", why=why, wrong=wrong)
    return False


def own(path: str, owner: str) -> None:
    """Give a path to 'user:group', unless it is theirs."""
    user, _, group = owner.partition(":")
    try:
        wanted = pwd.getpwnam(user).pw_uid, grp.getgrnam(group or user).gr_gid
    except KeyError as error:
        raise FailureError(f"{path}: {error.args[0]}, on this node") from None
    status = os.stat(path)
    if (status.st_uid, status.st_gid) != wanted:
        os.chown(path, *wanted)


def _beside(path: str) -> str:
    directory, name = os.path.split(path)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    for left in glob.glob(os.path.join(glob.escape(directory), f".{glob.escape(name)}.khw-*")):
        os.unlink(left)  # of an agent that was killed
    return os.path.join(directory, f".{name}.khw-{os.getpid()}")


class _Plain:
    def __init__(self, file: Any) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        self.sha256.update(piece)
        view = memoryview(piece)
        while view:
            view = view[self._file.write(view) :]

    def finish(self) -> None:
        pass


class _Gzip:
    def __init__(self, inner: _Plain) -> None:
        self._inner = inner
        self._decompress = zlib.decompressobj(wbits=31)

    def write(self, piece: bytes) -> None:
        self._inner.write(self._decompress.decompress(piece))

    def finish(self) -> None:
        self._inner.write(self._decompress.flush())


class _Zstd:
    """Pieces through `zstd -dc`; a thread takes what comes out, and keeps what went wrong there for `finish`."""

    def __init__(self, inner: _Plain, processes: Processes) -> None:
        self._inner = inner
        self._processes = processes
        self._child = processes.start(
            ["zstd", "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._error: OSError | None = None
        self._copier = threading.Thread(target=self._copy, daemon=True)
        self._copier.start()

    def write(self, piece: bytes) -> None:
        if self._child.stdin is not None:
            try:
                self._child.stdin.write(piece)
            except BrokenPipeError:
                self.finish()
                raise FailureError("zstd ended before it had everything") from None

    def finish(self) -> None:
        if self._child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
        self._copier.join()
        self._child.wait()
        self._processes.forget(self._child)
        if self._error:
            raise self._error

    def _copy(self) -> None:
        if self._child.stdout is None:
            return
        with self._child.stdout as source:
            try:
                for piece in _pieces(source.read):
                    self._inner.write(piece)
            except OSError as error:
                self._error = error
                self._child.kill()


def _pieces(read: Any) -> Iterator[bytes]:
    return iter(lambda: read(PIECE), b"")


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "link" if stat.S_ISLNK(mode) else "other"


def _identity(status: os.stat_result) -> list[int]:
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
