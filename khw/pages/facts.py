"""What the report says, as values. Pure: grouped and counted here, so that the template only puts it down."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from khw.checks import Status
from khw.diagrams.gantt import GOOD
from khw.engine.phases import PHASES
from khw.history.critical import critical_path
from khw.live.frame import together
from khw.verify.cis.summary import Row as Recommendation
from khw.verify.cis.summary import rows, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from khw.artifacts.survey import Row
    from khw.certs.survey import Held
    from khw.checks import CheckResult
    from khw.cluster.observed import Observed
    from khw.diagrams.tls import Talk
    from khw.history.critical import Segment
    from khw.history.timeline import Bar, Timeline
    from khw.verify.kept import Verified

SOON = 30  # days left from which on a certificate is said to end soon


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPhase:
    """A phase's changes: what was done, and on which hosts."""

    phase: str
    chapter: int
    count: int
    rows: tuple[tuple[str, str, str, str], ...]  # action, resource, hosts, before → after


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a host took: seconds at work and at gates, exchanges over SSH, bytes sent, bytes from other hosts."""

    host: str
    worked: float
    waited: float
    round_trips: int | None
    sent: int | None
    relayed: int | None


@dataclass(frozen=True, slots=True)
class Exposed:
    """How much a unit could reach if it were taken over: 0 is a sandbox, 10 root as it always was."""

    unit: str
    hosts: str
    figure: str  # '1.8 OK'


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that is on the page; what is None could not be had, and `missing` says why."""

    cluster: str
    version: str
    at: datetime
    run: Timeline | None = None
    verified: Verified | None = None
    seen: Observed | None = None
    benchmarked: Verified | None = None
    certificates: tuple[Held, ...] = ()
    artifacts: tuple[Row, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def path(self) -> tuple[Segment, ...]:
        """The critical path of the run."""
        return critical_path(self.run) if self.run else ()

    @property
    def stopped(self) -> tuple[Bar, ...]:
        """Where hosts stopped."""
        return tuple(bar for bar in self.run.bars if bar.outcome not in GOOD) if self.run else ()

    @property
    def changed(self) -> tuple[ChangedPhase, ...]:
        """What was changed, phase by phase, the same on several hosts in one row."""
        return changed_phases(self.run) if self.run else ()

    @property
    def effort(self) -> tuple[Effort, ...]:
        """What each host took."""
        return efforts(self.run) if self.run else ()

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The checks that failed."""
        return self._checks(Status.FAILED)

    @property
    def passed(self) -> tuple[CheckResult, ...]:
        """The checks that passed, or do not apply."""
        return (*self._checks(Status.PASSED), *self._checks(Status.SKIPPED))

    @property
    def exposed(self) -> tuple[Exposed, ...]:
        """How much each unit is exposed, host by host."""
        return exposed(self.verified.results) if self.verified else ()

    @property
    def benchmark(self) -> tuple[Recommendation, ...]:
        """The CIS benchmark's rows."""
        return tuple(rows(self.benchmarked.results)) if self.benchmarked else ()

    @property
    def benchmark_told(self) -> str:
        """The benchmark's counts in one line."""
        return told(self.benchmark)

    @property
    def talks(self) -> tuple[Talk, ...]:
        """Who talks to whom."""
        from khw.diagrams.tls import talks

        return talks(self.seen) if self.seen else ()

    def _checks(self, status: Status) -> tuple[CheckResult, ...]:
        return tuple(r for r in self.verified.results if r.status is status) if self.verified else ()


def exposed(results: Sequence[CheckResult]) -> tuple[Exposed, ...]:
    """Return systemd's figures of the units of each host, hosts with the same figures in one row."""
    hosts: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result.check == "exposure" and result.status is not Status.SKIPPED:
            hosts.setdefault((result.subject, result.actual), []).append(result.node)
    return tuple(Exposed(unit, together(names), figure) for (unit, figure), names in hosts.items())


def changed_phases(run: Timeline) -> tuple[ChangedPhase, ...]:
    """Return the changes of each phase, in the run's order of phases."""
    found = []
    chapters = {phase.name: phase.chapter for phase in PHASES}
    for phase in run.phases:
        hosts: dict[tuple[str, str, str], list[str]] = {}
        for row in run.made:
            if row.phase == phase:
                hosts.setdefault((row.action, row.resource, _turned(row.before, row.after)), []).append(row.host)
        if hosts:
            rows = tuple((action, what, together(who), turned) for (action, what, turned), who in hosts.items())
            count = sum(len(who) for who in hosts.values())
            found.append(ChangedPhase(phase=phase, chapter=chapters.get(phase, 0), count=count, rows=rows))
    return tuple(found)


def efforts(run: Timeline) -> tuple[Effort, ...]:
    """Return what each host took, in the run's order of hosts."""
    return tuple(
        Effort(
            host=host,
            worked=sum(bar.ended - bar.started for bar in run.of(host)) - _waited(run.of(host)),
            waited=_waited(run.of(host)),
            round_trips=run.round_trips.get(host),
            sent=run.bytes_sent.get(host),
            relayed=run.bytes_relayed.get(host),
        )
        for host in run.hosts
    )


def _waited(bars: Sequence[Bar]) -> float:
    return sum(wait.ended - wait.began for bar in bars for wait in bar.waits)


def _turned(before: str, after: str) -> str:
    return f"{before or 'absent'} → {after}" if after else before
