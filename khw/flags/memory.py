"""
What is known of a pinned binary: its flags, and which command lines it has accepted.

Kept in the artifact cache under the binary's sha256, so that a binary is asked once: a run on a warm cache starts no
process. Only what was accepted is kept; what was refused is asked again, until it is mended.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from khw.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

RULES = 1  # of asking and judging; what older rules accepted is asked again
KEPT = 256  # accepted command lines a binary


@dataclass
class Memory:
    """One binary's: `flags` (None: not asked yet) and, by shape, what it remarked on what it accepted."""

    path: Path
    flags: frozenset[str] | None = None
    accepted: dict[str, list[str]] = field(default_factory=dict)
    _changed: bool = False

    @classmethod
    def of(cls, root: Path, sha256: str) -> Memory:
        """Read it; what cannot be read is as good as unknown."""
        path = root / ".flags" / f"{sha256}.json"
        try:
            row = json.loads(path.read_text("utf-8"))
            if row["rules"] == RULES:
                flags = None if row["flags"] is None else frozenset(row["flags"])
                return cls(path, flags, dict(row["accepted"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return cls(path)

    def learn(self, flags: frozenset[str]) -> None:
        """Keep the flags that the binary has."""
        self.flags, self._changed = flags, True

    def accept(self, shape: str, remarks: list[str]) -> None:
        """Keep that the binary accepted this."""
        if shape not in self.accepted:
            self.accepted[shape], self._changed = remarks, True

    def save(self) -> None:
        """Write what is new; a cache that cannot be written to means asking again, no more."""
        if not self._changed:
            return
        row = {
            "rules": RULES,
            "flags": None if self.flags is None else sorted(self.flags),
            "accepted": dict(list(self.accepted.items())[-KEPT:]),
        }
        try:
            write_atomically(self.path, json.dumps(row).encode())
        except OSError:
            return
        self._changed = False
