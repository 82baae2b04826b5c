"""What the agent's modules share."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from khw.agent.compiled import keep
from khw.agent.relay import Shelf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from khw.agent.fence import Fence
    from khw.agent.processes import Processes, Result
    from khw.agent.session import Session

UNCHANGED = "unchanged"
CREATED = "created"
UPDATED = "updated"
REMOVED = "removed"
STARTED = "started"
RESTARTED = "restarted"
RAN = "ran"


class FailureError(Exception):
    """A step failed: what, the last lines of what was said, and what to do."""

    def __init__(self, message: str, evidence: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.evidence = evidence
        self.hint = hint


class Outcome(NamedTuple):
    """What was done to one resource."""

    action: str
    before: str = ""
    after: str = ""


class Places(NamedTuple):
    """Where things are on a node; the operator may say otherwise (its tests do)."""

    home: str = "/var/lib/khw"
    lock: str = "/run/khw/lock"
    units: str = "/etc/systemd/system"
    containerd: str = "/run/containerd/containerd.sock"
    path: str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Records:
    """A small JSON file of the agent's own (0600). A broken one is an empty one: it is only ever a shortcut."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._values: dict[str, Any] | None = None
        self._dirty = False

    def get(self, key: str) -> Any:
        """Return what is recorded, or None."""
        return self._loaded().get(key)

    def put(self, key: str, value: Any) -> None:
        """Record a value; None forgets it."""
        if self.get(key) != value:
            self._loaded()[key] = value
            self._dirty = True

    def save(self) -> None:
        """Write the file if anything is new."""
        if not self._dirty:
            return
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        temporary = f"{self._path}.new"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({key: value for key, value in self._loaded().items() if value is not None}, file)
        os.replace(temporary, self._path)
        self._dirty = False

    def _loaded(self) -> dict[str, Any]:
        if self._values is None:
            try:
                with open(self._path) as file:
                    values = json.load(file)
                self._values = values if isinstance(values, dict) else {}
            except (OSError, ValueError):
                self._values = {}
        return self._values


class Node:
    """The machine, as the agent's modules work on it."""

    def __init__(self, places: Places, session: Session, processes: Processes, fence: Fence) -> None:
        self.places = places
        self.session = session
        self.processes = processes
        self.fence = fence
        self.shelf = Shelf()
        self.digests = Records(os.path.join(places.home, "digests.json"))
        self.units = Records(os.path.join(places.home, "units.json"))
        self.images = Records(os.path.join(places.home, "images.json"))

    def save(self) -> None:
        """Write the records that changed; the first time, the agent's own code too."""
        keep()
        for records in (self.digests, self.units, self.images):
            records.save()

    def run(self, *argv: str, timeout: float = 30.0, stdin: bytes | None = None) -> Result:
        """Run a command."""
        return self.processes.run(argv, stdin, timeout)

    def must(self, argv: Sequence[str], problem: str, timeout: float = 60.0) -> Result:
        """Run a command that has to end with 0, or fail with `problem`."""
        result = self.processes.run(argv, None, timeout)
        if result.code:
            raise FailureError(f"{problem} (exit code {result.code})", result.evidence())
        return result
