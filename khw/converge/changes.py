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
    unified diff of text that is not secret, or ''. In a plan, a change is not `certain` that depends on what cannot be
    known before: what the image brings of a machine that is not made yet.
    """

    resource: str
    action: Action
    before: str = ""
    after: str = ""
    diff: str = ""
    seconds: float = 0.0
    certain: bool = True

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.action is not Action.UNCHANGED

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form; what there is nothing to say of is left out."""
        row: dict[str, object] = {"resource": self.resource, "action": self.action.value}
        row |= {name: text for name in ("before", "after", "diff") if (text := getattr(self, name))}
        return row if self.certain else row | {"certain": False}
