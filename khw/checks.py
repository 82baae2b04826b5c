"""What a check says: one value a check and node, the same for preflight, smoke test and verify."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"  # it does not apply here; `actual` says why
    MANUAL = "manual"  # only a person can judge it; `actual` says what to look at


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """
    One check on one node ('' where it is about the cluster as a whole).

    `check` and `subject` are the row of the table and what of it this is about; `name` is both. Of a failure, `cause`
    is what is likely behind it, `evidence` what was seen beyond `actual`, `command` what shows it, `hint` the way out.
    """

    name: str
    node: str
    status: Status
    expected: str
    actual: str
    hint: str = ""
    seconds: float = 0.0
    check: str = ""
    subject: str = ""
    cause: str = ""
    evidence: str = ""
    command: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form of `khw verify -o json`."""
        return asdict(self)
