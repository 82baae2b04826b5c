"""
The node's fence: one run acts on it at a time, and nothing of a run that is over acts after the next one has begun.

A run takes the node with its first change and writes down who it is. While it acts it holds the kernel's lock, which
goes when its agent goes; while its operator is heard it renews the file's time. Whoever comes next waits for one that
is heard, ends one that is not, ends what dead agents left running, and then counts the file's number up: an agent that
finds another number than its own was overtaken, and acts no more. Looking needs none of this.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from khw.agent.node import FailureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.agent.node import Node

PATIENCE = 90.0  # seconds for a run that is alive
UNHEARD = 15.0  # seconds after which an operator counts as gone; a living one is heard every three
DYING = 10.0  # seconds for a killed process to be gone
MARK = "KHW_AGENT"  # in the environment of every child: the agent that it belongs to


class Fence:
    """An agent's place on its node; `claim` for each time that it acts."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._number = 0  # of our turn; 0: we had none yet
        self._held = -1  # the lock's descriptor, while we act
        self._guard = threading.Lock()  # of that descriptor: another thread hears the operator
        self.me = f"{os.getpid()}:{_birth(os.getpid())}"
        os.environ[MARK] = f"{self.me}:{path}"

    def heard(self) -> None:
        """Renew the time: the operator has given a sign of life."""
        with self._guard:
            if self._held >= 0:
                _stamp(self._held)

    @contextlib.contextmanager
    def claim(self, node: Node, operator: str, run: str) -> Iterator[None]:
        """Hold the node while the block runs."""
        os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(descriptor)
            _stamp(descriptor)
            with self._guard:
                self._held = descriptor
            holder = _read(descriptor)
            number = _number(holder)
            if self._number and self._number != number:
                raise FailureError(
                    f"this node was taken over by {_named(holder)}",
                    hint="that run came after this one was cut off; see how far it got, then: khw run",
                )
            if not self._number:
                _end_orphans(self._path)
                self._number = number + 1
            _write(descriptor, self._entry(operator, run))
            _stamp(descriptor)
            yield
        finally:
            with self._guard:
                self._held = -1
            os.close(descriptor)

    def _entry(self, operator: str, run: str) -> dict[str, Any]:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {"number": self._number, "agent": self.me, "run": run, "operator": operator, "since": since}


def _lock(descriptor: int) -> None:
    """Wait for the lock; end its holder if nobody speaks to it any more."""
    deadline = time.monotonic() + PATIENCE
    suspect = ""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return
        holder = _read(descriptor)
        agent = str(holder.get("agent", "")) if _silent(descriptor) else ""
        if agent and agent == suspect:  # seen twice: one that has just taken the lock is about to write its own name
            _end([agent])
        suspect = agent
        if time.monotonic() > deadline:
            raise FailureError(
                f"another khw is at work on this node: {_named(holder)}",
                hint="let it end, or end it: the number is that of its agent's process on the node",
            )
        time.sleep(0.1)


def _stamp(descriptor: int) -> None:
    """Set the file's time by a clock that nobody sets."""
    os.utime(descriptor, ns=(time.monotonic_ns(), time.monotonic_ns()))


def _silent(descriptor: int) -> bool:
    return abs(time.monotonic() - os.fstat(descriptor).st_mtime) > UNHEARD


def _end_orphans(path: str) -> None:
    """End the processes whose agent is dead; those of an agent that lives (a check's) are left alone."""
    ours = _namespace("self")
    orphans = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        owner, _, place = _mark(pid).rpartition(":")
        if place == path and _namespace(pid) == ours and not _alive(owner):
            orphans.append(f"{pid}:{_birth(int(pid))}")
    _end(orphans)


def _end(identities: list[str]) -> None:
    for identity in identities:
        if _alive(identity):
            pid = int(identity.partition(":")[0])
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    _await_gone(identities)


def _namespace(pid: str) -> str:
    """Return the process's own pid namespace: the processes of a container on this machine are not ours."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def _await_gone(identities: list[str]) -> None:
    deadline = time.monotonic() + DYING
    while left := [identity for identity in identities if _alive(identity)]:
        if time.monotonic() > deadline:
            pids = ", ".join(identity.partition(":")[0] for identity in left)
            raise FailureError(
                f"what an earlier run left running cannot be ended: process {pids}",
                hint="it is likely to wait for a disk that does not answer; restart the node",
            )
        time.sleep(0.02)


def _mark(pid: str) -> str:
    """Return the agent that a process belongs to, or ''."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = file.read().split(b"\0")
    except OSError:
        return ""
    prefix = f"{MARK}=".encode()
    return next((v[len(prefix) :].decode("ascii", "replace") for v in variables if v.startswith(prefix)), "")


def _alive(identity: str) -> bool:
    pid, _, birth = identity.partition(":")
    return bool(birth) and pid.isdigit() and _birth(int(pid)) == birth


def _birth(pid: int) -> str:
    """Return when a process was started, in the kernel's ticks; '' if it is not there, or only its body is."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            columns = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if columns[0] in ("Z", "X") else columns[19]


def _read(descriptor: int) -> dict[str, Any]:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:  # nobody had it yet, or its disk was full
        return {}
    return holder if isinstance(holder, dict) else {}


def _write(descriptor: int, entry: dict[str, Any]) -> None:
    text = json.dumps(entry).encode()
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))


def _number(holder: dict[str, Any]) -> int:
    number = holder.get("number", 0)
    return number if isinstance(number, int) else 0


def _named(holder: dict[str, Any]) -> str:
    if not holder:
        return "it does not say which"
    agent = str(holder.get("agent", "")).partition(":")[0]
    return f"run {holder.get('run') or '?'} of {holder.get('operator')}, since {holder.get('since')} (process {agent})"
