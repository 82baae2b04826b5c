"""One phase on one host: gate, work, settle; whatever happens, its outcome is a value."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from khw.converge.apply import converge
from khw.converge.compare import Touched
from khw.engine.ahead import LookAhead, Still
from khw.engine.events import BytesTaken, GateOpened, PhaseStarted, PhaseWaits, ResourceDone, ResourceStarted
from khw.engine.gates import Blocked, Board, Cancelled, Need
from khw.engine.report import OPERATOR, Outcome, PhaseResult
from khw.engine.turns import PATIENCE, disturbs, turn
from khw.errors import KhwError, UnreachableError
from khw.files import disk_full
from khw.ssh.client import RemoteCommand

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.converge.apply import Machine
    from khw.converge.changes import Change
    from khw.converge.resources import Resource
    from khw.engine.events import Sink
    from khw.engine.operator import Run
    from khw.engine.phases import Phase
    from khw.engine.turns import Health
    from khw.ssh.connection import Agent
    from khw.ssh.relay import Relay


@dataclass(kw_only=True)
class Floor:
    """What all steps of a run share: the board, the places at work (`-j`), the clock, who listens."""

    run: Run
    permits: threading.Semaphore
    emit: Sink
    board: Board
    began: float
    relay: Relay
    still: Still = field(default_factory=Still)
    foreseen: dict[str, Touched] = field(default_factory=dict)  # by host: what its phases so far would have done

    def clock(self) -> float:
        """Return the seconds since the run began."""
        return time.monotonic() - self.began


class Step:
    """A phase on a host; `agent` connects to the host when it is first needed."""

    def __init__(
        self, floor: Floor, host: str, phase: Phase, agent: Callable[[], Machine], ahead: LookAhead | None = None
    ) -> None:
        self._floor = floor
        self._host = host
        self._phase = phase
        self._agent = agent
        self._ahead = ahead or LookAhead(floor.run, floor.still, ())
        self._changes: list[Change] = []
        self._waited = 0.0
        self._asked: dict[str, Resource] = {}

    def take(self) -> PhaseResult:
        """Do it, and say how it ended; only a second Ctrl-C could keep this from returning."""
        started = self._floor.clock()
        error: KhwError | None = None
        try:
            outcome = self._attempt()
        except Blocked as reason:
            outcome, error = Outcome.BLOCKED, KhwError(str(reason), hint="khw run --failed, once that is mended")
        except Cancelled:
            outcome, error = Outcome.CANCELLED, KhwError("cancelled", hint="khw run --resume goes on from here")
        except UnreachableError as unreachable:
            outcome, error = Outcome.UNREACHABLE, unreachable
        except KhwError as failed:
            outcome, error = Outcome.FAILED, failed
        except Exception as bug:
            logging.getLogger(__name__).debug("unexpected error", exc_info=bug)
            outcome = Outcome.FAILED
            error = disk_full(bug) or KhwError(f"unexpected {type(bug).__name__}: {bug}", hint="this is a bug in khw")
        if self._floor.board.cancelled and error and outcome is not Outcome.CANCELLED:
            outcome = Outcome.CANCELLED  # what was ended on request did not fail
            error = KhwError(f"cut off: {error.message}", hint="khw run --resume goes on from here")
        return PhaseResult(
            host=self._host,
            phase=self._phase.name,
            outcome=outcome,
            started=started,
            ended=self._floor.clock(),
            waited=self._waited,
            changes=tuple(self._changes),
            error=error,
        )

    def _attempt(self) -> Outcome:
        first = (Need(self._phase.name),) if self._phase.operator and self._host != OPERATOR else ()
        self._pass((*first, *self._phase.needs))
        if self._phase.once and self._claim() != self._host:
            return Outcome.ELSEWHERE
        asked = self._floor.clock()
        self._floor.run.before(self._phase, self._host)
        self._waited += self._floor.clock() - asked  # for an answer, with --step
        self._floor.emit(PhaseStarted(self._host, self._phase.name))
        with self._place():
            if self._host == OPERATOR:
                self._from_here()
            else:
                self._on_node()
        return Outcome.CHANGED if any(change.changed for change in self._changes) else Outcome.OK

    def _claim(self) -> str:
        """Return who does once-per-cluster work; whoever watches is told who has it while this host waits."""
        board, phase = self._floor.board, self._phase.name
        if (owner := board.claimant(phase)) not in {"", self._host}:
            self._waits(f"{phase} on {owner}", phase, (owner,))
        return board.claim(self._host, phase, [row.name for row in self._ahead.following(self._phase)])

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Hold one of the places at work."""
        permits = self._floor.permits
        if not permits.acquire(blocking=False):
            self._waits("a place at work (-j)")
            permits.acquire()
            self._floor.emit(GateOpened(self._host, self._phase.name))
        try:
            yield
        finally:
            permits.release()

    def _from_here(self) -> None:
        if self._phase.operator is not None:
            for change in self._phase.operator(self._floor.run):
                self._note(change)

    def _on_node(self) -> None:
        if self._phase.task is None:
            return
        run, agent = self._floor.run, self._agent()
        node = run.cluster.node(self._host).with_facts(agent.facts)
        resources = self._ahead.resources(self._phase, node)
        self._asked = {resource.id: resource for resource in resources}
        converge(
            agent,
            resources,
            run.store,
            node=self._host,
            check=run.check,
            on_change=self._note,
            on_start=self._begin,
            on_bytes=self._taken,
            settle=self._settle,
            guard=self._guard,
            foreseen=self._floor.foreseen.setdefault(self._host, Touched()),
            look=lambda: self._ahead.look(self._phase, agent, node, resources),
            station=lambda: self._floor.relay.station(self._host, node.internal_ip, agent.distance),
        )

    def _begin(self, resource: Resource, size: int) -> None:
        self._floor.still.holds = False
        self._floor.emit(ResourceStarted(self._host, self._phase.name, resource.id, size))

    def _taken(self, count: int) -> None:
        self._floor.emit(BytesTaken(self._host, self._phase.name, count))

    def _waits(self, reason: str, awaited: str = "", holders: tuple[str, ...] = ()) -> None:
        self._floor.emit(PhaseWaits(self._host, self._phase.name, reason, awaited, holders))

    def _note(self, change: Change) -> None:
        self._changes.append(change)
        if change.changed and not self._floor.run.check:
            self._floor.still.holds = False
            self._floor.run.workspace.smoked.unlink(missing_ok=True)
        self._floor.emit(ResourceDone(self._host, self._phase.name, change, self._asked.get(change.resource)))

    def _pass(self, needs: Iterable[Need]) -> None:
        """Wait at the gate, for one need after another; whoever watches is told what for, and that it opened."""
        board, began, told = self._floor.board, self._floor.clock(), False
        for need in needs:
            if reason := board.closed([need]):
                told = True
                self._waits(reason, need.phase, board.holders(need))
            board.wait([need])
        board.wait(())  # Ctrl-C holds where no gate does
        self._waited += self._floor.clock() - began
        if told:
            self._floor.emit(GateOpened(self._host, self._phase.name))

    @contextmanager
    def _settle(self) -> Iterator[None]:
        """Wait for what the cluster must have first, without taking a place from a host that could work."""
        self._floor.permits.release()
        try:
            self._pass(self._phase.settle_needs)
            yield
        finally:
            self._floor.permits.acquire()

    def _guard(self, changes: Sequence[Change]) -> AbstractContextManager[object] | None:
        """Return the turn to take before something is disturbed that lives; None if nothing is."""
        cluster = self._floor.run.cluster
        health = self._phase.health(cluster.node(self._host), cluster) if self._phase.health else None
        if health is None or not disturbs(health, changes, lives=not cluster.may_bootstrap):
            return None
        return self._turn(health, joining=any(c.changed and c.resource == health.joins for c in changes))

    @contextmanager
    def _turn(self, health: Health, *, joining: bool) -> Iterator[None]:
        """Take a turn; no place is held while others have it."""
        board, limit = self._floor.board, self._floor.run.cluster.spec.timeouts.ready
        agent = cast("Agent", self._agent())  # with --check nothing is guarded, and a node may be no more than planned
        commands = [RemoteCommand(argv, timeout=PATIENCE) for argv in (health.mine, *health.others)]
        began, said = self._floor.clock(), [""]

        def told(reason: str) -> None:
            if reason != said[0]:
                said[0] = reason
                self._waits(reason)

        def look() -> list[bool]:
            return [answer.code == 0 for answer in agent.run(*commands, timeout=PATIENCE * (len(commands) + 1))]

        with ExitStack() as stack:
            self._floor.permits.release()
            try:
                stack.enter_context(turn(board, self._host, health, look, joining=joining, timeout=limit, told=told))
            finally:
                self._floor.permits.acquire()
                self._waited += self._floor.clock() - began
                if said[0]:
                    self._floor.emit(GateOpened(self._host, self._phase.name))
            yield
