"""What a run comes to: a status for each host and phase, and the exit code that follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.converge.changes import Change
    from khw.errors import KhwError

OPERATOR = "operator"  # the row of what is done from the operator's own side: cloud, certificates, kubectl


class Outcome(StrEnum):
    """How a phase ended on a host."""

    OK = "ok"  # nothing had to be changed
    CHANGED = "changed"
    ELSEWHERE = "elsewhere"  # once-per-cluster work that another host did
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    BLOCKED = "blocked"  # a gate that it waits for can no longer open
    CANCELLED = "cancelled"

    @property
    def good(self) -> bool:
        """Whether the phase is done."""
        return self in {Outcome.OK, Outcome.CHANGED, Outcome.ELSEWHERE}


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseResult:
    """One phase on one host; times in seconds since the run began."""

    host: str
    phase: str
    outcome: Outcome
    started: float
    ended: float
    waited: float = 0.0  # seconds at gates, part of ended - started
    changes: tuple[Change, ...] = ()
    error: KhwError | None = None

    @property
    def changed(self) -> int:
        """How many resources were changed."""
        return sum(change.changed for change in self.changes)

    def changes_as_dicts(self) -> list[dict[str, object]]:
        """Return the JSON form of what was, or would be, changed."""
        return [change.as_dict() for change in self.changes if change.changed]

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form: what `khw run -o json` prints and the journal keeps."""
        return {
            "host": self.host,
            "phase": self.phase,
            "outcome": self.outcome.value,
            "started": round(self.started, 3),
            "ended": round(self.ended, 3),
            "waited": round(self.waited, 3),
            "changed": self.changed,
            "unchanged": len(self.changes) - self.changed,
            "error": str(self.error) if self.error else None,
            "hint": (self.error.hint or None) if self.error else None,
        }


def first_bad(results: Iterable[PhaseResult]) -> PhaseResult | None:
    """Return the result that stopped a host, of the results of this host."""
    return next((result for result in results if not result.outcome.good), None)


@dataclass(slots=True)
class Report:
    """The results of a run, gathered per host."""

    run_id: str
    check: bool = False
    results: list[PhaseResult] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False
    round_trips: int = 0
    bytes_sent: int = 0  # over the operator's line
    bytes_relayed: int = 0  # of artifacts, from node to node

    @property
    def hosts(self) -> dict[str, list[PhaseResult]]:
        """The results by host, in the order in which they ended."""
        table: dict[str, list[PhaseResult]] = {}
        for result in self.results:
            table.setdefault(result.host, []).append(result)
        return table

    def stopped(self, host: str) -> PhaseResult | None:
        """Return the result that stopped this host, if one did."""
        return first_bad(result for result in self.results if result.host == host)

    @property
    def changed(self) -> int:
        """How many resources were changed on all hosts."""
        return sum(result.changed for result in self.results)

    @property
    def exit_code(self) -> int:
        """130 cancelled · 4 hosts unreachable · 3 hosts failed or blocked · the operator's own error · 0 ok."""
        bad = [result for result in self.results if not result.outcome.good]
        outcomes = {result.outcome for result in bad}
        if self.interrupted or Outcome.CANCELLED in outcomes:
            return 130
        if Outcome.UNREACHABLE in outcomes:
            return 4
        if any(result.host != OPERATOR or result.outcome is Outcome.BLOCKED for result in bad):
            return 3
        return next((result.error.exit_code for result in bad if result.error), 0)

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form of `khw run -o json`, with every change (of a plan: that would be made)."""
        hosts = self.hosts.items()
        return {
            "run": self.run_id,
            "check": self.check,
            "ok": self.exit_code == 0,
            "exit_code": self.exit_code,
            "seconds": round(self.seconds, 3),
            "changed": self.changed,
            "round_trips": self.round_trips,
            "bytes_sent": self.bytes_sent,
            "bytes_relayed": self.bytes_relayed,
            "hosts": {host: [r.as_dict() | {"changes": r.changes_as_dicts()} for r in rows] for host, rows in hosts},
        }
