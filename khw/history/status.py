"""Where a cluster stands by its journals: the last run, where each host stopped and why, and what to type next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from khw.engine.report import Outcome
from khw.history.journal import ID
from khw.history.runs import CUT_OFF, NOT_BEGUN, Stop

if TYPE_CHECKING:
    from khw.history.runs import PastRun

CANCELLED = 130


class State(StrEnum):
    """What became of the last run."""

    NONE = "none"
    RUNNING = "running"
    KILLED = "killed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    OK = "ok"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class HostRow:
    """A host: through, or where it stopped, since which run and why."""

    host: str
    state: str
    phase: str = ""
    why: str = ""
    run: str = ""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """The answer of `khw status`."""

    state: State
    run: str = ""
    command: str = ""
    started: str = ""  # ISO 8601
    seconds: float = 0.0
    exit_code: int | None = None
    phases: tuple[str, ...] = ()
    hosts: tuple[HostRow, ...] = ()
    says: str = ""
    next: str = "khw run"

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self) | {"hosts": [asdict(row) for row in self.hosts]}


def status_of(last: PastRun | None, holder: str, known: Iterable[str], order: Iterable[str]) -> RunStatus:
    """
    Judge the last run.

    `holder` is who holds the cluster's lock, or ''; `known` are the hosts of the cluster file, `order` all phases.
    """
    if last is None:
        return RunStatus(state=State.RUNNING if holder else State.NONE, says=holder or "there was no run yet")
    if last.destroy and not holder:
        return _after_destroy(last)
    state = _state(last, running=bool(holder))
    rows = tuple(_rows(last, frozenset(known), tuple(order)))
    says, advice = _advice(state, holder, rows)
    if last.error and not holder:
        says = f"{last.error}\n{says}"
    return RunStatus(
        state=state,
        run=last.run_id,
        command=last.what,
        started=_iso(last.run_id),
        seconds=last.seconds,
        exit_code=last.exit_code,
        phases=last.phases,
        hosts=rows,
        says=says,
        next=advice,
    )


def first_undone(stops: Iterable[Stop], order: Iterable[str]) -> Stop | None:
    """Return the stop at the earliest phase of the table; phases that it does not have (any more) do not count."""
    places = {name: place for place, name in enumerate(order)}
    return min((s for s in stops if s.phase in places), key=lambda s: places[s.phase], default=None)


def _state(last: PastRun, *, running: bool) -> State:
    if running:
        return State.RUNNING
    if last.exit_code is None:
        return State.KILLED
    if last.exit_code == CANCELLED:
        return State.CANCELLED
    return State.FAILED if last.exit_code else State.OK


def _rows(last: PastRun, known: frozenset[str], order: tuple[str, ...]) -> Iterable[HostRow]:
    hosts = [host for host in dict.fromkeys((*last.lanes, *last.todo)) if host in known]
    for host in hosts:
        stop = first_undone(last.todo.get(host, ()), order)
        yield HostRow(host, "through") if stop is None else HostRow(host, stop.state, stop.phase, stop.why, stop.run)


def _advice(state: State, holder: str, rows: tuple[HostRow, ...]) -> tuple[str, str]:
    stuck = [row for row in rows if row.phase]
    if state is State.RUNNING:
        return f"{holder}; hosts are where they are at this moment", "khw status"
    if state is State.KILLED:
        text = "it was killed, or its machine went down: it has no end" if stuck else "it was killed at its very end"
        return text, "khw run --resume" if stuck else "khw verify"
    if not stuck:
        return "every host is through", "khw verify"
    if state is State.CANCELLED:
        return "it was cancelled", "khw run --resume"
    broken = [r.host for r in stuck if r.state in {Outcome.FAILED, Outcome.UNREACHABLE}] or [r.host for r in stuck]
    return f"mend what is said of {', '.join(broken)} first", "khw run --failed"


def _after_destroy(last: PastRun) -> RunStatus:
    whole = last.exit_code is not None and not last.left
    says = "the cluster was destroyed" if whole else "destroying it did not come to its end"
    if last.left:
        says = f"it was destroyed but for {', '.join(last.left)}"
    return RunStatus(
        state=State.DESTROYED if whole else State.KILLED if last.exit_code is None else State.FAILED,
        run=last.run_id,
        command=last.what,
        started=_iso(last.run_id),
        seconds=last.seconds,
        exit_code=last.exit_code,
        says=says,
        next="khw run" if whole else "khw destroy",
    )


def _iso(run_id: str) -> str:
    try:
        return datetime.strptime(run_id, ID).replace(tzinfo=UTC).isoformat(timespec="seconds")
    except ValueError:
        return ""


def state_style(state: str) -> str:
    """Return the colour that a host's or a run's state is shown in."""
    good: Mapping[str, str] = {"through": "green", State.OK: "green", State.RUNNING: "yellow", NOT_BEGUN: "dim"}
    bad = {Outcome.FAILED, Outcome.UNREACHABLE, CUT_OFF, State.KILLED}
    return good.get(state) or ("bold red" if state in bad else "magenta")
