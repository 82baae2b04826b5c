"""What happens during a run, as values: the live view and the journal are told the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from khw.changes import Change
    from khw.report import PhaseResult
    from khw.resources import Resource


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The hosts and the phases that the run is about; `lanes` are the phases that each host is to walk."""

    run_id: str
    hosts: tuple[str, ...]
    phases: tuple[str, ...]
    lanes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A host begins a phase."""

    host: str
    phase: str


@dataclass(frozen=True, slots=True)
class PhaseWaits:
    """A host waits at a gate, for this reason."""

    host: str
    phase: str
    reason: str


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
    """A line for the person who watches: the progress of a build, a machine that boots."""

    host: str
    text: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run is over."""

    run_id: str
    exit_code: int
    seconds: float
    error: str = ""  # what ended it as a whole, if it was not a host's


Event: TypeAlias = RunStarted | PhaseStarted | PhaseWaits | ResourceDone | PhaseEnded | Notice | RunEnded
Sink: TypeAlias = Callable[[Event], None]
