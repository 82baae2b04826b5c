"""What a run is at this moment, put together from its events. Pure: no clock, no terminal."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from khw.engine.events import (
    BytesTaken,
    Discovered,
    GateOpened,
    Notice,
    PhaseEnded,
    PhaseStarted,
    PhaseWaits,
    Progress,
    ResourceDone,
    ResourceStarted,
    RunEnded,
    RunStarted,
)
from khw.engine.report import Outcome

if TYPE_CHECKING:
    from khw.engine.events import Event

SPEED_SECONDS = 3.0  # over which a speed is taken


class Now(StrEnum):
    """What a phase is on a host that is not through with it."""

    TO_COME = "to come"
    AT_WORK = "at work"
    WAITS = "waits"


Cell: TypeAlias = Now | Outcome


@dataclass(slots=True)
class Flow:
    """Bytes that were taken: how many, and how fast of late."""

    taken: int = 0
    _recent: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, count: int, now: float) -> None:
        """Count bytes taken at the moment `now`."""
        self.taken += count
        self._recent.append((now, count))
        self._forget(now)

    def speed(self, now: float) -> float:
        """Return bytes per second over the last few seconds."""
        self._forget(now)
        if not self._recent:
            return 0.0
        return sum(count for _, count in self._recent) / SPEED_SECONDS

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - SPEED_SECONDS:
            self._recent.popleft()


@dataclass(slots=True)
class Row:
    """A host: its cells, and what it does or waits for."""

    host: str
    cells: dict[str, Cell]
    phase: str = ""
    since: float = 0.0  # when it began what it does now
    resource: str = ""  # at work on this
    size: int = 0  # bytes that are sent for it
    sent: int = 0  # of them
    text: str = ""  # a line of progress, instead of a resource
    waits: PhaseWaits | None = None
    flow: Flow = field(default_factory=Flow)

    @property
    def through(self) -> bool:
        """Whether nothing is left for it to do."""
        return all(isinstance(cell, Outcome) and cell.good for cell in self.cells.values())

    @property
    def stopped(self) -> Outcome | None:
        """How it stopped, if it did."""
        return next((c for c in self.cells.values() if isinstance(c, Outcome) and not c.good), None)

    def go(self, phase: str, cell: Cell, now: float) -> None:
        """Turn to something else."""
        self.cells[phase] = cell
        self.phase, self.since = phase, now
        self.resource = self.text = ""
        self.size = self.sent = 0
        self.waits = None


@dataclass(slots=True)
class Model:
    """All hosts of a run; `apply` takes the next event, and says what of it must be told beside the picture."""

    began: float = 0.0
    phases: tuple[str, ...] = ()
    rows: dict[str, Row] = field(default_factory=dict)
    flow: Flow = field(default_factory=Flow)
    changed: int = 0
    ends: dict[tuple[str, str], float] = field(default_factory=dict)  # seconds since `began`
    over: bool = False

    @property
    def steps(self) -> int:
        """How many phases there are to go through, on all hosts."""
        return sum(len(row.cells) for row in self.rows.values())

    def apply(self, event: Event, now: float) -> Event | None:
        """Take an event that came at `now`; return it if it is one that the person who watches has to read."""
        match event:
            case RunStarted():
                self.began, self.phases = now, event.phases
                self.rows = {h: Row(h, dict.fromkeys(event.lanes.get(h, ()), Now.TO_COME)) for h in event.hosts}
            case Discovered() if event.host in self.rows:
                self.rows[event.host].text = ""
            case PhaseStarted():
                self._row(event.host).go(event.phase, Now.AT_WORK, now)
            case PhaseWaits():
                row = self._row(event.host)
                row.go(event.phase, Now.WAITS, now)
                row.waits = event
            case GateOpened():
                self._row(event.host).go(event.phase, Now.AT_WORK, now)
            case ResourceStarted():
                row = self._row(event.host)
                row.go(event.phase, Now.AT_WORK, now)
                row.resource, row.size = event.resource, event.bytes
            case BytesTaken():
                row = self._row(event.host)
                row.sent += event.count
                row.flow.add(event.count, now)
                self.flow.add(event.count, now)
            case ResourceDone():
                self.changed += event.change.changed
            case PhaseEnded():
                return self._ended(event, now)
            case Progress():
                self._row(event.host).text = event.text
            case Notice():
                return event
            case RunEnded():
                self.over = True
        return None

    def still(self, waits: PhaseWaits) -> tuple[str, ...]:
        """Return who of a gate's holders is not through yet."""
        return tuple(host for host in waits.holders if (host, waits.awaited) not in self.ends)

    def _ended(self, event: PhaseEnded, now: float) -> Event | None:
        result = event.result
        row = self._row(result.host)
        row.go(result.phase, result.outcome, now)
        self.ends[result.host, result.phase] = now - self.began
        return None if result.outcome.good else event

    def _row(self, host: str) -> Row:
        """Return the host's row; a host that nobody spoke of at the start gets one."""
        return self.rows.setdefault(host, Row(host, {}))
