"""
The engine: phases × hosts, as one Nornir run.

Every host has a lane of its own and walks its phases; the operator's side is a host like any other, without a
connection. A failed host stops only itself and what its gates make impossible.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from nornir.core import Nornir
from nornir.core.exceptions import NornirSubTaskError
from nornir.core.inventory import ConnectionOptions, Host, Hosts
from nornir.core.plugins.connections import ConnectionPluginRegister
from nornir.core.task import AggregatedResult, Result

from khw import interrupt
from khw.converge.unmade import UnmadeMachine
from khw.engine import bounds
from khw.engine.ahead import LookAhead
from khw.engine.events import Discovered, Notice, PhaseEnded, Progress, RunEnded, RunStarted
from khw.engine.gates import Board, members_of
from khw.engine.phases import GROUND, Phase
from khw.engine.report import OPERATOR, Report, first_bad
from khw.engine.runner import LaneRunner
from khw.engine.step import Floor, Step
from khw.errors import KhwError, StepError, UsageError
from khw.inventory.plugin import inventory_of
from khw.ssh.connection import CONNECTION, KhwConnection
from khw.ssh.early import EarlyLogins, remember
from khw.ssh.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nornir.core.inventory import Inventory
    from nornir.core.task import Task

    from khw.cluster.model import Cluster, Node
    from khw.cluster.spec import Planned
    from khw.converge.apply import Machine
    from khw.engine.events import Event, Sink
    from khw.engine.operator import Run
    from khw.engine.report import PhaseResult
    from khw.ssh.connection import Agent

MAX_CLOCK_SKEW = 30.0  # seconds; certificates and leases are judged by the nodes' clocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What is to be run: the phases, and on which hosts.

    `limit` names hosts (None: all, the operator's side included); `begin` maps a host to the phase where it takes up.
    """

    phases: tuple[Phase, ...]
    limit: frozenset[str] | None = None
    begin: Mapping[str, str] = field(default_factory=dict)
    parallel: int = 64

    def takes(self, host: str) -> bool:
        """Whether this host is part of the run."""
        return self.limit is None or host in self.limit

    def phases_of(self, host: str, machine: Node | Planned | None) -> tuple[Phase, ...]:
        """Return the phases that this host walks; None is the operator's side."""
        mine = tuple(phase for phase in self.phases if (phase.on(machine) if machine else phase.operator is not None))
        first = self.begin.get(host)
        names = [phase.name for phase in self.phases]
        if first is None or first not in names:
            return mine
        return tuple(phase for phase in mine if names.index(phase.name) >= names.index(first))


class Engine:
    """
    One run: `execute()` walks the plan and returns the report.

    Life: the ground phases (the operator's side, up to the machines) → discovery → one Nornir run over all hosts →
    connections closed. Ctrl-C once: no new work; twice: what runs is ended.
    """

    def __init__(
        self, run: Run, plan: Plan, run_id: str, sinks: Sequence[Sink], early: EarlyLogins | None = None
    ) -> None:
        self._run = run
        self._plan = plan
        self._sinks = sinks
        self._report = Report(run_id=run_id, check=run.check)
        self._floor = Floor(
            run=run,
            permits=threading.Semaphore(plan.parallel),
            emit=self._emit,
            board=Board(members_of(()), frozenset()),
            began=time.monotonic(),
            relay=Relay(run.spec.artifacts.relay, lambda host, text: self._emit(Notice(host, text))),
        )
        self._lock = threading.Lock()
        self._agents: dict[str, Agent] = {}
        self._trips: Counter[str] = Counter()  # by host, as far as its connection was closed
        self._sent: Counter[str] = Counter()
        self._relayed: Counter[str] = Counter()
        self._kept = 0  # connections of hosts that are through
        self._ended_phases: dict[str, list[PhaseResult]] = {}
        self._unreachable: dict[str, str] = {}
        self._unmade: frozenset[str] = frozenset()
        self._early = early or EarlyLogins()
        self.aggregated: AggregatedResult | None = None  # Nornir's own view, for its own printers
        run.agents = self._reach
        run.progress = lambda text: self._emit(Progress(OPERATOR, text))
        run.notice = lambda text: self._emit(Notice(OPERATOR, text))

    def execute(self) -> Report:
        """Run the plan to its end; errors of hosts are in the report, not raised."""
        with interrupt.listening(self._interrupted), interrupt.ends_by(self._end):
            try:
                self._begin_logins()
                self._look_ahead()
                if self._lay_ground() and not interrupt.pressed():
                    self._walk_all()
            except BaseException as error:
                if not (isinstance(error, KhwError) and interrupt.pressed()):
                    self._ended(getattr(error, "exit_code", 1), str(error))
                    raise
            self._report.interrupted = interrupt.pressed()
            self._ended(self._report.exit_code)
        return self._report

    def _begin_logins(self) -> None:
        """Log in to the machines of the last run, while the cloud is asked for those of this one."""
        spec = self._run.spec
        if spec.provider == "gcp":
            walked = {p.name for p in spec.planned if any(x.task for x in self._plan.phases_of(p.name, p))}
            self._early.begin(spec, self._run.workspace, lambda name: name in walked and self._plan.takes(name))

    def _look_ahead(self) -> None:
        """Ask the provider at once for all that this run will want to know of it."""
        operators = self._plan.phases_of(OPERATOR, None) if self._plan.takes(OPERATOR) else ()
        self._run.provider.look_ahead([phase.name for phase in operators])

    def _ended(self, exit_code: int, error: str = "") -> None:
        self._close()
        self._report.seconds = self._floor.clock()
        counts = (self._trips, self._sent, self._relayed)
        self._emit(RunEnded(self._report.run_id, exit_code, self._report.seconds, error, *counts))

    def _lay_ground(self) -> bool:
        ground = tuple(p for p in self._plan.phases_of(OPERATOR, None) if p.name in GROUND)
        self._emit(self._started())
        if not ground or not self._plan.takes(OPERATOR):
            return True
        self._nornir(_only_operator(), _Lanes({OPERATOR: ground}), 1)
        return self._report.stopped(OPERATOR) is None

    def _started(self) -> RunStarted:
        machines: dict[str, Planned | None] = {OPERATOR: None} | {p.name: p for p in self._run.spec.planned}
        hosts = tuple(host for host in machines if self._plan.takes(host))
        lanes = {host: tuple(p.name for p in self._plan.phases_of(host, machines[host])) for host in hosts}
        return RunStarted(self._report.run_id, hosts, tuple(p.name for p in self._plan.phases), lanes)

    def _walk_all(self) -> None:
        rest = tuple(p for p in self._plan.phases if p.name not in GROUND)
        if not rest and not any(p.roles for p in self._plan.phases):
            return
        cluster = self._discover()
        if interrupt.pressed():
            return
        lanes = {n.name: self._plan.phases_of(n.name, n) for n in cluster.nodes if self._plan.takes(n.name)}
        if self._plan.takes(OPERATOR):
            ours = self._plan.phases_of(OPERATOR, None)
            lanes[OPERATOR] = tuple(p for p in ours if p.name not in GROUND)
        _require_known(self._plan.limit, cluster)
        if any(phase.task for host, phases in lanes.items() if host != OPERATOR for phase in phases):
            self._run.require_flags()
        active = frozenset((host, phase.name) for host, phases in lanes.items() for phase in phases)
        self._floor.board = Board(members_of((n.name, role) for n in cluster.nodes for role in n.roles), active)
        self._foresee(cluster)
        inventory = inventory_of(cluster, self._run.workspace, check=self._run.check)
        if not self._run.check:
            remember(self._run.workspace, cluster.nodes)
        for node in cluster.nodes:
            options = inventory.hosts[node.name].connection_options[CONNECTION]
            options.extras = {**(options.extras or {}), "early": partial(self._early.take, node)}
        inventory.hosts = _leaders_first(cluster, Hosts({**inventory.hosts, **_only_operator().hosts}))
        self._nornir(inventory, _Lanes(lanes), bounds.lanes(self._plan.parallel, 1 + len(cluster.controllers)))

    def _discover(self) -> Cluster:
        """Ask the provider where the machines are: nobody can do anything before that is known."""
        if self._plan.takes(OPERATOR):
            self._emit(Progress(OPERATOR, "asking where the machines are"))
        started = self._floor.clock()
        cluster = self._run.cluster
        self._emit(Discovered(OPERATOR, started, self._floor.clock()))
        return cluster

    def _foresee(self, cluster: Cluster) -> None:
        """In a plan, take the machines as made that this run would make; if none is there, whatever is selected."""
        missing = frozenset(node.name for node in cluster.nodes if not node.exists)
        makes = self._plan.takes(OPERATOR) and any(p.name == "compute" for p in self._plan.phases_of(OPERATOR, None))
        if not (self._run.foresee and missing and (makes or len(missing) == len(cluster.nodes))):
            return
        self._unmade = missing
        hint = "" if makes else " (khw run --phase compute makes them)"
        self._emit(Notice(OPERATOR, f"planned from the cluster file, not made yet: {', '.join(sorted(missing))}{hint}"))
        self._emit(Notice(OPERATOR, "external addresses are not known yet: what names them may change once more"))

    def _nornir(self, inventory: Inventory, lanes: _Lanes, at_once: int) -> None:
        """Walk these lanes as one Nornir run."""
        bounds.make_room(at_once + bounds.KEPT)
        nornir = _nornir_over(inventory, {host for host, phases in lanes.phases.items() if phases}, at_once)
        result = nornir.run(task=self._walk, name="khw run", lanes=lanes)
        if self.aggregated is None:
            self.aggregated = result
        else:
            for host, multi in result.items():
                self.aggregated[host] = multi

    def _walk(self, task: Task, lanes: _Lanes) -> Result:
        """One host's lane: its phases, one after another, until one does not end well."""
        host = task.host.name
        ahead = LookAhead(self._run, self._floor.still, lanes.phases[host])
        for phase in lanes.phases[host]:
            try:
                task.run(task=self._step, name=phase.name, phase=phase, ahead=ahead)
            except NornirSubTaskError:
                self._give_up(host, lanes.phases[host])
                break
        self._let_go(task.host)
        mine = self._ended_phases.get(host, [])
        return Result(
            host=task.host, changed=any(r.changed for r in mine), failed=any(not r.outcome.good for r in mine)
        )

    def _give_up(self, host: str, phases: Iterable[Phase]) -> None:
        """Tell who waits for this host that none of its phases that are left will come."""
        stopped = first_bad(self._ended_phases.get(host, ()))
        if stopped is not None:
            names = [phase.name for phase in phases]
            for name in names[names.index(stopped.phase) + 1 :]:
                self._floor.board.record(host, name, stopped.outcome)

    def _let_go(self, host: Host) -> None:
        """Close the connection of a host that is through, unless it is one of the few that are kept."""
        with self._lock:
            agent = self._agents.get(host.name)
            if agent is None:
                return
            if self._kept < bounds.KEPT:
                self._kept += 1
                return
            del self._agents[host.name]
            self._count(host.name, agent)
            self._floor.relay.stops(host.name, gone=True)
        host.close_connection(CONNECTION)

    def _step(self, task: Task, phase: Phase, ahead: LookAhead) -> Result:
        """One phase on one host, as a Nornir subtask."""
        result = Step(self._floor, task.host.name, phase, lambda: self._agent(task.host, task.nornir), ahead).take()
        with self._lock:
            self._report.results.append(result)
            self._ended_phases.setdefault(result.host, []).append(result)
        if phase.through and result.outcome.good and result.host != OPERATOR and not self._run.check:
            phase.through(self._run)
        self._floor.board.record(result.host, result.phase, result.outcome)
        self._emit(PhaseEnded(result))
        return Result(
            host=task.host,
            changed=result.changed > 0,
            failed=not result.outcome.good,
            result=str(result.error or "\n".join(f"{c.action} {c.resource}" for c in result.changes if c.changed)),
        )

    def _agent(self, host: Host, nornir: Nornir) -> Machine:
        """Return the host's agent, connected at first use."""
        if host.name in self._unmade:
            return UnmadeMachine(host.name)
        try:
            agent: Agent = host.get_connection(CONNECTION, nornir.config)
        except KhwError as error:
            self._unreachable[host.name] = error.message
            raise
        if host.name not in self._agents:
            agent.run_id = self._report.run_id
            self._agents[host.name] = agent
            _require_clock(host.name, agent.skew)
        return agent

    def _reach(self) -> tuple[Mapping[str, Agent], Mapping[str, str]]:
        """Connect to every node that this run has not met, for checks that look at all of them."""
        missing = [n for n in self._run.cluster.nodes if n.name not in self._agents and n.name not in self._unreachable]
        agents, unreachable = connect(self._run, missing)
        self._agents.update(agents)
        self._unreachable.update(unreachable)
        return self._agents, self._unreachable

    def _emit(self, event: Event) -> None:
        for sink in self._sinks:
            sink(event)

    def _interrupted(self, presses: int) -> None:
        self._floor.board.cancel()
        first = "stopping: running steps end first; Ctrl-C again ends them at once"
        self._emit(Notice(OPERATOR, first if presses == 1 else "ending everything at once; Ctrl-C again just leaves"))

    def _end(self) -> None:
        """End at once what runs on nodes and what is waited for in the cloud."""
        self._early.close()
        for agent in list(self._agents.values()):
            agent.kill()
        self._run.provider.stop()

    def _close(self) -> None:
        self._early.close()
        for name, agent in self._agents.items():
            self._count(name, agent)
            agent.close()

    def _count(self, host: str, agent: Agent) -> None:
        self._trips[host] += agent.round_trips
        self._sent[host] += agent.bytes_sent
        self._relayed[host] += agent.bytes_relayed
        self._report.round_trips += agent.round_trips
        self._report.bytes_sent += agent.bytes_sent
        self._report.bytes_relayed += agent.bytes_relayed


@dataclass(frozen=True, slots=True)
class _Lanes:
    phases: Mapping[str, tuple[Phase, ...]]


def connect(run: Run, nodes: Iterable[Node]) -> tuple[dict[str, Agent], dict[str, str]]:
    """Connect to these nodes at once; return the agents, and why the others could not be reached."""
    wanted = {node.name for node in nodes}
    agents: dict[str, Agent] = {}
    unreachable: dict[str, str] = {}
    if not wanted:
        return agents, unreachable

    def open_one(task: Task) -> Result:
        try:
            agents[task.host.name] = task.host.get_connection(CONNECTION, task.nornir.config)
        except KhwError as error:
            unreachable[task.host.name] = error.message
        return Result(host=task.host)

    bounds.make_room(len(wanted))
    _nornir_over(inventory_of(run.cluster, run.workspace), wanted, bounds.LOGINS).run(task=open_one)
    return agents, unreachable


def _leaders_first(cluster: Cluster, hosts: Hosts) -> Hosts:
    """Return the hosts with those first that others wait for: they are the first to have a lane."""
    leaders = (OPERATOR, *(node.name for node in (*cluster.etcd_members, *cluster.controllers)))
    return Hosts({**{name: hosts[name] for name in leaders if name in hosts}, **hosts})


def _nornir_over(inventory: Inventory, wanted: set[str], lanes: int) -> Nornir:
    """Return a Nornir of these hosts of the inventory, quiet, with our runner and our connection."""
    _quiet_nornir()
    if CONNECTION not in ConnectionPluginRegister.available:
        ConnectionPluginRegister.register(CONNECTION, KhwConnection)
    inventory.hosts = Hosts({name: host for name, host in inventory.hosts.items() if name in wanted})
    return Nornir(inventory=inventory, runner=LaneRunner(lanes))


def _only_operator() -> Inventory:
    from nornir.core.inventory import Defaults, Groups, Inventory

    options = {CONNECTION: ConnectionOptions()}
    host = Host(name=OPERATOR, hostname="localhost", connection_options=options)
    return Inventory(hosts=Hosts({OPERATOR: host}), groups=Groups(), defaults=Defaults())


def _quiet_nornir() -> None:
    """Keep Nornir's tracebacks off the screen: errors are in the report, by name."""
    logger = logging.getLogger("nornir")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _require_known(limit: frozenset[str] | None, cluster: Cluster) -> None:
    unknown = sorted((limit or frozenset()) - {n.name for n in cluster.nodes} - {OPERATOR})
    if unknown:
        msg = f"--limit names no host of this cluster: {', '.join(unknown)}"
        raise UsageError(msg, hint="hosts: " + ", ".join(n.name for n in cluster.nodes))


def _require_clock(host: str, skew: float) -> None:
    if abs(skew) > MAX_CLOCK_SKEW:
        msg = f"its clock is {skew:+.0f} s off ours; expected at most {MAX_CLOCK_SKEW:.0f} s"
        raise StepError(msg, node=host, hint="set up time synchronisation on the node (timedatectl)")
