"""
Starting a pinned binary on the operator's machine to ask it something, without giving it anything to break.

Nothing of the caller's environment, an empty directory of its own, a limit in time, and where khw runs as root another
user: whatever a binary does before it stops, it has no rights to do it with.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOBODY = 65534
TIMEOUT = 30.0
CANNOT_RUN = (errno.ENOEXEC, errno.EACCES, errno.EPERM, errno.ELIBBAD, errno.ENOENT)


class NotRunnableError(Exception):
    """The binary cannot be run on this machine: another architecture or system, or a file system mounted noexec."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How it ended, and what it said; `code` is None where it did not end in time."""

    code: int | None
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that it said."""
        return f"{self.out}\n{self.err}"


@dataclass(frozen=True, slots=True)
class Room:
    """A scratch directory, and whether what runs in it is another user."""

    path: Path
    stranger: bool

    def put(self, path: str, data: bytes) -> Path:
        """Write a file of this path below the room."""
        target = self.path / path.lstrip("/")
        self.folder(str(Path(path).parent))
        target.write_bytes(data)
        self._give(target)
        return target

    def folder(self, path: str) -> Path:
        """Make a directory of this path below the room."""
        target = self.path
        for part in Path(path.lstrip("/")).parts:
            target /= part
            if not target.exists():
                target.mkdir(mode=0o700)
                self._give(target)
        return target

    def _give(self, path: Path) -> None:
        if self.stranger:
            os.chown(path, NOBODY, NOBODY)

    def ask(self, binary: Path, arguments: Sequence[str], *, environment: dict[str, str] | None = None) -> Answer:
        """Run the binary with these arguments and return its answer."""
        try:
            return self._run(binary, arguments, {"PATH": "/usr/bin:/bin", **(environment or {})})
        except OSError as error:
            if error.errno not in CANNOT_RUN:
                raise
            raise NotRunnableError(os.strerror(error.errno)) from error

    def _run(self, binary: Path, arguments: Sequence[str], environment: dict[str, str]) -> Answer:
        with binary.open("rb") as file:
            # by descriptor: the other user may not look into the cache's directories
            executable = f"/proc/self/fd/{file.fileno()}" if self.stranger else str(binary)
            identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if self.stranger else {}
            try:
                done = subprocess.run(
                    [binary.name, *arguments],
                    executable=executable,
                    cwd=self.path,
                    env={**environment, "HOME": str(self.path), "TMPDIR": str(self.path)},
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=False,
                    timeout=TIMEOUT,
                    pass_fds=(file.fileno(),),
                    **identity,  # type: ignore[call-overload]  # the three of them, or none
                )
            except subprocess.TimeoutExpired as late:
                return self._answer(None, late.stdout, late.stderr)
        return self._answer(done.returncode, done.stdout, done.stderr)

    def _answer(self, code: int | None, out: bytes | None, err: bytes | None) -> Answer:
        """Return what it said, with the node's paths in place of the room's."""
        texts = ((raw or b"").decode("utf-8", "replace").replace(str(self.path), "") for raw in (out, err))
        return Answer(code, *texts)


@contextmanager
def room() -> Iterator[Room]:
    """Make a room for as long as the `with` block lasts."""
    path = Path(tempfile.mkdtemp(prefix="khw-flags-"))
    try:
        yield Room(path, stranger=os.geteuid() == 0 and _given(path))
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _given(path: Path) -> bool:
    """Whether there is another user to run as: not in every container."""
    try:
        os.chown(path, NOBODY, NOBODY)
    except OSError:
        return False
    return Path("/proc/self/fd").exists()
