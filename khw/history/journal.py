"""
The journal: what a run did, line by line, in `.khw/<cluster>/runs/<id>.jsonl`.

Each line is one write, made as it happens, so that a run that is killed leaves what it did. The first line carries what
earlier runs left undone, so that the newest journal is all that a later run has to read (`khw.history.runs`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import threading
import time
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from khw.artifacts import lock
from khw.converge.resources import Binary, Image
from khw.engine.events import (
    Discovered,
    GateOpened,
    PhaseEnded,
    PhaseStarted,
    PhaseWaits,
    ResourceDone,
    RunEnded,
    RunStarted,
)
from khw.errors import KhwError
from khw.files import write_private
from khw.history.runs import SUFFIX, last_run, newest
from khw.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from khw.converge.resources import Resource
    from khw.engine.events import Event

ID = "%Y%m%dT%H%M%S.%fZ"
KEPT = 50  # journals
KEY = "key"  # of the input hashes
SHOWN = 32  # digits of an input hash


def new_run_id(directory: Path) -> str:
    """Return an id that sorts by time, and after all that are there, whatever the clock says."""
    now = datetime.now(UTC)
    if last := newest(directory):
        try:
            now = max(now, datetime.strptime(last, ID).replace(tzinfo=UTC) + timedelta(microseconds=1))
        except ValueError:  # a file of somebody else's
            return now.strftime(ID)
    return now.strftime(ID)


class Journal:
    """An event sink that appends to the run's file (0600); `what` is the command line, without secrets by design."""

    def __init__(self, directory: Path, run_id: str, what: str = "") -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = last_run(directory)
        self._before = before.todo_as_dict() if before else {}
        self._what = what
        self._path = directory / f"{run_id}{SUFFIX}"
        self._key = _key(directory)
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._broken = False  # a line was written in part
        self.lost = ""  # why lines are missing
        _forget(directory)
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def __call__(self, event: Event) -> None:
        """Write the event, if it is one that a later run or a report needs."""
        record = self._record(event)
        if record is None:
            return
        try:
            self._write(record)
        except OSError as error:
            self.lost = f"{self._path}: {error.strerror}"
            if isinstance(event, RunStarted):  # nothing was done yet, and nobody would know what was
                msg = f"the journal cannot be written: {self.lost}"
                raise KhwError(msg, hint="make room on this machine's disk; nothing was changed") from None

    def destroying(self) -> None:
        """Write that the cluster is being taken away: from here on nothing of it counts as there."""
        self._write({"event": "destroy", "process": os.getpid(), "what": self._what})

    def destroyed(self, left: Sequence[str]) -> None:
        """Write that it is gone, and what is left."""
        self._write({"event": "destroyed", "left": list(left)})

    def close(self) -> None:
        """Close the file; what comes later is not written."""
        with self._lock:
            os.close(self._file)
            self._file = -1

    def _write(self, record: dict[str, Any]) -> None:
        record["at"] = round(time.monotonic() - self._began, 3)
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if self._file < 0:
                return
            if self._broken:
                line = b"\n" + line
            self._broken = True
            if os.write(self._file, line) == len(line):
                self._broken = False

    def _record(self, event: Event) -> dict[str, Any] | None:  # noqa: PLR0911 - one return an event
        match event:
            case RunStarted():
                return {
                    "event": "run",
                    "id": event.run_id,
                    "process": os.getpid(),
                    "what": self._what,
                    "hosts": event.hosts,
                    "phases": event.phases,
                    "lanes": event.lanes,
                    "before": self._before,
                }
            case Discovered():
                times = {"started": round(event.started, 3), "ended": round(event.ended, 3)}
                return {"event": "discovered", "host": event.host, **times}
            case PhaseWaits():
                return {
                    "event": "waits",
                    "host": event.host,
                    "phase": event.phase,
                    "for": event.reason,
                    "awaited": event.awaited,
                    "holders": event.holders,
                }
            case GateOpened():
                return {"event": "opened", "host": event.host, "phase": event.phase}
            case PhaseStarted():
                return {"event": "begin", "host": event.host, "phase": event.phase}
            case ResourceDone():
                return self._resource(event)
            case PhaseEnded():
                return {"event": "end", **event.result.as_dict()}
            case RunEnded():
                return {
                    "event": "ended",
                    "exit_code": event.exit_code,
                    "seconds": round(event.seconds, 3),
                    "error": event.error,
                    "round_trips": dict(event.round_trips),
                    "bytes_sent": dict(event.bytes_sent),
                    "bytes_relayed": dict(event.bytes_relayed),
                }
            case _:
                return None

    def _resource(self, event: ResourceDone) -> dict[str, Any]:
        change = event.change
        record = {
            "event": "resource",
            "host": event.host,
            "phase": event.phase,
            "resource": change.resource,
            "action": change.action.value,
            "seconds": round(change.seconds, 3),
        }
        record |= {name: text for name in ("before", "after") if change.changed and (text := getattr(change, name))}
        if event.resource is not None:
            record["input"] = input_hash(event.resource, self._key)
        return record


def input_hash(resource: Resource, key: bytes) -> str:
    """Return a hash of what was asked for; without the workspace's key it tells nothing of it."""
    mac = hmac.new(key, resource.id.encode(), hashlib.sha256)
    for field in fields(resource):
        mac.update(b"\0" + field.name.encode() + b"\0" + _bytes(getattr(resource, field.name)))
    if isinstance(resource, Binary | Image):
        mac.update(lock.entry(resource.artifact).version.encode())
    return mac.hexdigest()[:SHOWN]


def _bytes(value: object) -> bytes:
    if isinstance(value, Secret):
        return value.reveal()
    return value if isinstance(value, bytes) else repr(value).encode()


def _key(directory: Path) -> bytes:
    path = directory / KEY
    try:
        return path.read_bytes()
    except FileNotFoundError:
        key = secrets.token_bytes(32)
        write_private(path, key)
        return key


def _forget(directory: Path) -> None:
    """Remove the oldest journals; what they left undone is carried by the newest."""
    for path in sorted(directory.glob(f"*{SUFFIX}"))[: -KEPT + 1]:
        path.unlink(missing_ok=True)
