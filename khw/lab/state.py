"""
What a lab remembers: every resource and operation of its project, in one JSON file beside the machines.

All reading and changing goes on under `lock`; `save` writes the whole file atomically, so that a daemon that
is killed at any moment starts again from the last change.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from khw.errors import LabError
from khw.files import write_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Json = dict[str, Any]

FORMAT = 1


@dataclass
class Entry:
    """One resource: what the API shows of it (`body`), and what it keeps to itself (`hidden`)."""

    collection: str  # as clients call it: networks, regionHealthChecks
    scope: str  # global, regions/R or zones/Z
    name: str
    key: str  # its path below the project
    body: Json
    hidden: Json = field(default_factory=dict)
    ready: bool = False  # its insert has ended
    deleting: bool = False


@dataclass
class Job:
    """An operation: what the API shows of it, and what a daemon that takes it up again has to know."""

    body: Json
    verb: str
    target: str  # the entry's key
    arguments: Json = field(default_factory=dict)
    request: str = ""  # the client's requestId: the same request again is the same operation
    problem: list[str] = field(default_factory=list)  # a code and a message that it is bound to end with

    @property
    def name(self) -> str:
        """Return the operation's name."""
        return str(self.body["name"])

    @property
    def done(self) -> bool:
        """Return whether it has ended, well or not."""
        return bool(self.body["status"] == "DONE")


class State:
    """The resources and operations of one lab, kept in `path`."""

    KEEP = 300  # ended operations

    def __init__(self, path: Path) -> None:
        self.lock = threading.RLock()
        self.entries: dict[str, Entry] = {}
        self.jobs: dict[str, Job] = {}
        self._path = path
        if path.exists():
            self._load()

    def _load(self) -> None:
        try:
            data = json.loads(self._path.read_bytes())
            if data["format"] != FORMAT:
                msg = f"{self._path} was written by another version of khw (format {data['format']})"
                raise LabError(msg, hint="khw lab down, then khw lab up")
            self.entries = {row["key"]: Entry(**row) for row in data["entries"]}
            self.jobs = {row["body"]["name"]: Job(**row) for row in data["jobs"]}
        except (ValueError, KeyError, TypeError) as error:
            msg = f"{self._path} is not a lab's state: {error}"
            raise LabError(msg, hint="khw lab down, then khw lab up") from error

    def save(self) -> None:
        """Write everything down; call it with the lock held, after each change."""
        ended = [name for name, job in self.jobs.items() if job.done]
        for name in ended[: -self.KEEP]:
            del self.jobs[name]
        data = {
            "format": FORMAT,
            "entries": [vars(entry) for entry in self.entries.values()],  # asdict would copy all of them first
            "jobs": [vars(job) for job in self.jobs.values()],
        }
        # Private: metadata may carry a user's secrets. In one line: with an indent json does without its C code.
        write_private(self._path, json.dumps(data).encode())

    def of(self, collection: str) -> Iterator[Entry]:
        """Return every resource of a collection, in the order of their inserts."""
        return (entry for entry in list(self.entries.values()) if entry.collection == collection)
