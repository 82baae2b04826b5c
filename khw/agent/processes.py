"""Children of the agent: each leads its own process group and has a time limit; none outlives the agent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMED_OUT = 124
NOT_EXECUTABLE = 126
NOT_FOUND = 127
GRACE = 2.0  # seconds for the pipes of a killed group to close


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    def evidence(self, lines: int = 20) -> str:
        """Return the last lines of what it said: standard error, or else standard output."""
        said = [line for line in (self.err.strip() or self.out.strip()).splitlines() if line.strip()]
        return "\n".join(said[-lines:])


class Processes:
    """Starts children and knows those that run."""

    def __init__(self) -> None:
        self._running: set[int] = set()
        self._ended = False
        self._lock = threading.Lock()

    def start(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a child in a process group of its own."""
        with self._lock:
            if self._ended:
                raise SystemExit(1)
            child = subprocess.Popen(list(argv), start_new_session=True, **options)
            self._running.add(child.pid)
            return child

    def forget(self, child: subprocess.Popen[bytes]) -> None:
        """Say that a child has ended."""
        with self._lock:
            self._running.discard(child.pid)

    def kill_all(self) -> None:
        """Kill every group and start no other: the operator is gone."""
        with self._lock:
            self._ended = True
            for pid in self._running:
                kill_group(pid)

    def run(
        self,
        argv: Sequence[str],
        stdin: bytes | None = None,
        timeout: float = 30.0,
        env: dict[str, str] | None = None,
    ) -> Result:
        """Run a command to its end, or to its time limit."""
        try:
            child = self.start(
                argv,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **env} if env else None,
            )
        except FileNotFoundError:
            return Result(NOT_FOUND, "", f"{argv[0]}: command not found")
        except OSError as error:
            return Result(NOT_EXECUTABLE, "", f"{argv[0]}: {error.strerror}")
        try:
            return _ended(child, stdin, timeout)
        finally:
            self.forget(child)


def _ended(child: subprocess.Popen[bytes], stdin: bytes | None, timeout: float) -> Result:
    try:
        out, err = child.communicate(stdin, timeout)
        return Result(child.returncode, _text(out), _text(err))
    except subprocess.TimeoutExpired:
        kill_group(child.pid)
    said = b"", b""
    with contextlib.suppress(subprocess.TimeoutExpired):
        said = child.communicate(timeout=GRACE)
    return Result(TIMED_OUT, _text(said[0]), f"{_text(said[1])}\ntimed out after {timeout:g} s".lstrip())


def kill_group(pid: int) -> None:
    """Kill a process group; one that has ended is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
