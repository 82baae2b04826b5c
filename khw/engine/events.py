"""What happens during a run, as values: the live view and the journal are told the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from khw.converge.changes import Change
    from khw.converge.resources import Resource
    from khw.engine.report import PhaseResult


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The hosts and the phases that the run is about; `lanes` are the phases that each host is to walk."""

    run_id: str
    hosts: tuple[str, ...]
    phases: tuple[str, ...]
    lanes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Discovered:
    """The provider has said where the machines are; it was asked and has answered so many seconds after the start."""

    host: str
    started: float
    ended: float


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A host begins a phase."""

    host: str
    phase: str


@dataclass(frozen=True, slots=True)
class PhaseWaits:
    """
    A host waits at a gate, for this reason.

    It opens when enough of the `holders` are through the phase `awaited`; both are empty where it is no phase that is
    waited for.
    """

    host: str
    phase: str
    reason: str
    awaited: str = ""
    holders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GateOpened:
    """What a host waited for has come: it goes on."""

    host: str
    phase: str


@dataclass(frozen=True, slots=True)
class ResourceStarted:
    """A node is at work on this resource; `bytes` are to be sent for it, if that is known."""

    host: str
    phase: str
    resource: str
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class BytesTaken:
    """A node has taken so many more bytes of what is sent to it."""

    host: str
    phase: str
    count: int


@dataclass(frozen=True, slots=True)
class ResourceDone:
    """A resource was looked at, and changed where it had to be; `resource` is what was asked for, on a node."""

    host: str
    phase: str
    change: Change
    resource: Resource | None = None


@dataclass(frozen=True, slots=True)
class PhaseEnded:
    """A host is through with a phase, one way or another."""

    result: PhaseResult


@dataclass(frozen=True, slots=True)
class Notice:
    """A line that the person who watches is to read."""

    host: str
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something is that takes long, a build or a download: the next such line takes this one's place."""

    host: str
    text: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run is over; `round_trips`, `bytes_sent` and `bytes_relayed` are by host."""

    run_id: str
    exit_code: int
    seconds: float
    error: str = ""  # what ended it as a whole, if it was not a host's
    round_trips: Mapping[str, int] = field(default_factory=dict)
    bytes_sent: Mapping[str, int] = field(default_factory=dict)
    bytes_relayed: Mapping[str, int] = field(default_factory=dict)  # that a host had from others


Event: TypeAlias = (
    RunStarted
    | Discovered
    | PhaseStarted
    | PhaseWaits
    | GateOpened
    | ResourceStarted
    | BytesTaken
    | ResourceDone
    | PhaseEnded
    | Notice
    | Progress
    | RunEnded
)
Sink: TypeAlias = Callable[[Event], None]
