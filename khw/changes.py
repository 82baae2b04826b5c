"""What happened to one thing: the value that apply and the providers return, and the journal and report keep."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What was done, or with `--check` would be done."""

    UNCHANGED = "unchanged"
    CREATED = "created"
    UPDATED = "updated"
    REMOVED = "removed"
    STARTED = "started"
    RESTARTED = "restarted"
    RAN = "ran"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    One resource, what was done to it, and how long that took.

    `before` and `after` are short and never hold a secret ('sha256:ab12…', 'inactive', 'mode 0644'); `diff` is a
    unified diff of text that is not secret, or ''.
    """

    resource: str
    action: Action
    before: str = ""
    after: str = ""
    diff: str = ""
    seconds: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.action is not Action.UNCHANGED
