"""One use of a cluster: its file, its workspace, its provider and artifacts, and what the commands do with them."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from khw import interrupt
from khw.cluster.workspace import Workspace
from khw.engine.lock import hold, holder, require_free
from khw.engine.report import OPERATOR
from khw.errors import UnreachableError, UsageError
from khw.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nornir.core.task import AggregatedResult

    from khw.artifacts.store import Store
    from khw.cluster.model import Node
    from khw.cluster.observed import Observed
    from khw.cluster.spec import Spec
    from khw.converge.changes import Change
    from khw.engine.engine import Plan
    from khw.engine.events import Sink
    from khw.engine.operator import Run
    from khw.engine.phases import Phase
    from khw.engine.report import Report
    from khw.history.runs import PastRun, Todo
    from khw.history.status import RunStatus
    from khw.inventory.gcp.cost import Cost
    from khw.inventory.provider import Provider
    from khw.ssh.connection import Agent
    from khw.ssh.early import EarlyLogins
    from khw.verify import Context
    from khw.verify.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to: khw's report, and Nornir's own results for Nornir's own printers."""

    report: Report
    aggregated: AggregatedResult


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Routes as rows; `silent` says of each node that was asked in vain why, `note` why there is nothing to show."""

    columns: Sequence[str]
    rows: Sequence[Mapping[str, str | int]]
    silent: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(kw_only=True)
class Session:
    """
    The cluster file as values, and everything that belongs to it on the operator's side.

    With `check` it is there to look: nothing is written, anywhere (docs/decisions/0018-plan.md).
    """

    spec: Spec
    file: Path
    check: bool = False
    workspace: Workspace = field(init=False)
    _early: EarlyLogins | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        self.workspace = Workspace.beside(self.file, self.spec.name)

    @cached_property
    def provider(self) -> Provider:
        """Where the nodes come from."""
        from khw.inventory import provider_for
        from khw.inventory.keys import login_public_key

        return provider_for(self.spec, login_public_key(self.spec, self.workspace, check=self.check))

    @cached_property
    def store(self) -> Store:
        """Where binaries and images come from."""
        from khw.artifacts.store import Store

        return Store(self.spec.artifacts.sources, self.spec.artifacts.mirror)

    def begin_logins(self, hosts: Collection[str] | None = None) -> None:
        """Log in to these hosts (None: to all) while there is much to load yet; the next run takes the logins over."""
        from khw.ssh.early import EarlyLogins

        self._early = EarlyLogins()
        self._early.begin(self.spec, self.workspace, lambda name: hosts is None or name in hosts)

    def context(self, *, check: bool = False, foresee: bool = False) -> Run:
        """Return what the steps of one run share."""
        from khw.engine.operator import Run

        return Run(
            flag_check=_flag_check,
            spec=self.spec,
            workspace=self.workspace,
            provider=self.provider,
            store=self.store,
            check=check,
            foresee=foresee,
        )

    def run(
        self, plan: Plan, *, sinks: Sequence[Sink], what: str, before: Callable[[Phase, str], None] | None = None
    ) -> Outcome:
        """
        Walk the plan, with the cluster's lock held and a journal written; with `check` only look at what is.

        `before` is called when a phase begins on a host, and may hold it up (`khw.engine.stepping`).
        """
        from khw.cluster.schema import put_beside
        from khw.history.journal import Journal, new_run_id

        if self.check:
            require_free(self.workspace.lock)
            return self._walk(plan, new_run_id(self.workspace.runs), sinks, before)
        self.workspace.prepare()
        put_beside(self.file)
        with hold(self.workspace.lock, what):
            if [phase.name for phase in plan.phases] == ["smoke"]:  # asked for by name: it is done, passed or not
                self.workspace.smoked.unlink(missing_ok=True)
            run_id = new_run_id(self.workspace.runs)
            journal = Journal(self.workspace.runs, run_id, what)
            try:
                return self._walk(plan, run_id, [*sinks, journal], before)
            finally:
                journal.close()
                if journal.lost:
                    _tell(
                        sinks, f"the journal of this run is not whole, --failed and --resume go by it: {journal.lost}"
                    )

    def _walk(
        self, plan: Plan, run_id: str, sinks: Sequence[Sink], before: Callable[[Phase, str], None] | None
    ) -> Outcome:
        from nornir.core.task import AggregatedResult

        from khw.engine.engine import Engine

        run = self.context(check=self.check, foresee=self.check)
        run.before = before or run.before
        engine = Engine(run, plan, run_id, sinks, self._early)
        self._early = None
        report = engine.execute()
        return Outcome(report, engine.aggregated or AggregatedResult("khw run"))

    def verify(self, *, wait: float = 0.0, names: Sequence[str] = (), profile: str = "khw") -> Verdict:
        """Run a profile's checks, or those with these names; with `wait` again until all pass or the time is over."""
        from khw.verify import run as verify
        from khw.verify.kept import keep
        from khw.verify.profiles import PROFILES

        chosen = PROFILES[profile]
        checks = chosen.select(names)
        deadline = time.monotonic() + wait
        while True:
            with _ended_at_once(), self.connected() as context:
                verdict = verify(context, checks, diagnosed=chosen.diagnosed)
            if not names:
                keep(chosen.kept(self.workspace), verdict)
            if verdict.ok or time.monotonic() >= deadline:
                return verdict

    def smoke(self, *, disruptive: bool) -> Verdict:
        """Run chapter 13's test by itself."""
        from khw.verify.causes import diagnose
        from khw.verify.smoke import run as smoke_test
        from khw.verify.verdict import Verdict

        with _ended_at_once(), self.connected() as context:
            results = smoke_test(context, disruptive=disruptive)
            return Verdict(tuple(results), tuple(diagnose(results, context.cluster)))

    def observe(self, *, units: bool = True) -> Observed:
        """Return the cluster as it is: machines, routes, certificates; with `units` every node is asked for its own."""
        from datetime import UTC, datetime

        from khw.certs.survey import held
        from khw.cluster.observed import Observed, units_of

        seen = Observed(
            cluster=self.provider.discover(),
            at=datetime.now(UTC),
            routes=tuple(self.provider.routes()),
            firewall=tuple(self.provider.firewall()),
            certificates=tuple(held(self.workspace.pki)),
        )
        if not units:
            return seen
        from khw.verify import pod_routes

        with _ended_at_once(), self.connected() as context:
            states, silent = units_of(context.cluster, context.agents)
            facts = {name: agent.facts for name, agent in context.agents.items()}
            routes = seen.routes or tuple(pod_routes.as_one(seen.cluster, pod_routes.look(context)[0]))
        return replace(seen, routes=routes, units=states, facts=facts, silent={**context.unreachable, **silent})

    def connected(self) -> _Connected:
        """Connect to every node that answers, for the length of a `with` block."""
        return _Connected(self.context(check=True))  # checks make nothing on the operator's side

    def nodes(self) -> list[dict[str, str | None]]:
        """Return the machines as rows."""
        return [_row(node) for node in self.provider.discover().nodes]

    def routes(self) -> RouteTable:
        """Return the network's route table; on machines of one's own what each of them has, and what it should have."""
        if self.spec.static is None:
            columns: tuple[str, ...] = ("name", "network", "dest_range", "next_hop", "priority")
            return RouteTable(columns, _rows_of(self.provider.routes(), columns))
        columns = ("node", "dest_range", "next_hop", "expected", "state")
        if self.spec.static.routes == "own":
            from khw.verify.network import ELSEWHERE

            return RouteTable(columns, [], note=ELSEWHERE)
        from khw.verify.pod_routes import look

        with _ended_at_once(), self.connected() as context:
            found, silent = look(context)
        return RouteTable(columns, _rows_of(found, columns), silent)

    def ssh_command(self, name: str, command: Sequence[str]) -> list[str]:
        """Return the ssh command line for a node, with the cluster's key and known hosts."""
        from khw.inventory.keys import login_key
        from khw.inventory.logins import jump_of
        from khw.inventory.plugin import inventory_of

        cluster = self.provider.discover()
        node = next((n for n in cluster.nodes if n.name == name), None)
        if node is None:
            msg = f"there is no node {name!r}"
            raise UsageError(msg, hint="nodes: " + ", ".join(n.name for n in cluster.nodes))
        if node.unreachable:
            raise UnreachableError(node.unreachable, node=node.name)
        inventory_of(cluster, self.workspace)  # writes known_hosts
        options = {
            "UserKnownHostsFile": self.workspace.known_hosts,
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "LogLevel": "ERROR",
            "ConnectTimeout": f"{max(1, round(self.spec.timeouts.connect))}",
        }
        own = str(login_key(self.spec, self.workspace))
        key = node.ssh_key or own
        way = []
        if node.ssh_jump:
            jump = jump_of(self.spec, node, own, str(self.workspace.known_hosts))
            way = jump.options(node.ssh_host, node.ssh_port, self.spec.timeouts.connect)
        pairs = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        return [
            "ssh",
            "-i",
            key,
            "-p",
            str(node.ssh_port),
            *way,
            *pairs,
            f"{node.ssh_user}@{node.ssh_host}",
            *command,
        ]

    def destroy(self) -> tuple[list[Change], list[str]]:
        """Chapter 14; return what was removed (with `check`: would be) and what is left (would stay)."""
        from khw.engine.operator import give_up
        from khw.history.journal import Journal, new_run_id

        if self.check:
            require_free(self.workspace.lock)
            going, staying = self.provider.foretell()
            return list(going), list(staying)
        self.workspace.prepare()
        with hold(self.workspace.lock, "destroy"):
            journal = Journal(self.workspace.runs, new_run_id(self.workspace.runs), "destroy")
            journal.destroying()
            try:
                changes, left = list(self.provider.destroy()), list(self.provider.leftovers())
                journal.destroyed(left)
                if not left and self.spec.provider != "static":  # there the machines are, and their data
                    give_up(self.workspace)
            finally:
                journal.close()
            return changes, left

    def cost(self, report: Report) -> Cost | None:
        """Return what the cluster costs, if this plan or run makes machines in a cloud."""
        from khw.inventory.gcp.cost import estimate

        made = (change.resource for result in report.results for change in result.changes if change.changed)
        return estimate(self.spec) if any(name.startswith("instance:") for name in made) else None

    def status(self) -> RunStatus:
        """Return what the journals say of the last run, and of what earlier ones left undone."""
        from khw.engine.phases import PHASES
        from khw.history.runs import last_run
        from khw.history.status import status_of

        order = [phase.name for phase in PHASES]
        return status_of(last_run(self.workspace.runs), holder(self.workspace.lock), self.hosts, order)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that the cluster file asks for, the operator's side first."""
        return (OPERATOR, *(planned.name for planned in self.spec.planned))


def _rows_of(routes: Iterable[object], columns: Sequence[str]) -> list[dict[str, str | int]]:
    return [{column: getattr(route, column) for column in columns} for route in routes]


class _Connected:
    """Agents on every node that answers, for the length of a `with` block, as the context of checks."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._agents: Mapping[str, Agent] = {}
        self._ends = ExitStack()

    def __enter__(self) -> Context:
        from khw.engine.engine import connect
        from khw.engine.operator import verify_context

        reached, unreachable = connect(self._run, self._run.cluster.nodes)
        self._agents = reached
        self._ends.enter_context(interrupt.ends_by(self._kill))
        self._run.agents = lambda: (reached, unreachable)
        return verify_context(self._run)

    def _kill(self) -> None:
        for agent in self._agents.values():
            agent.kill()

    def __exit__(self, *_: object) -> None:
        self._ends.close()
        for agent in self._agents.values():
            agent.close()


def _flag_check(run: Run) -> list[Change]:
    from khw.flags.check import of_run

    return of_run(run)


@contextmanager
def _ended_at_once() -> Iterator[None]:
    """End what runs with the first Ctrl-C: checks change nothing, so that there is nothing to bring to its end."""
    with interrupt.listening(patient=False):
        try:
            yield
        finally:
            if interrupt.pressed():
                raise KeyboardInterrupt


def open_session(file: Path, *, check: bool = False) -> Session:
    """Read the cluster file; with `check` the session writes nothing."""
    from khw.cluster.file import load

    return Session(spec=load(file), file=file, check=check)


def write_cluster_file(file: Path, *, lab_name: str, project: str | None, force: bool) -> None:
    """Write a cluster file for a lab or a project of Google's; never over one that is there, unless told to."""
    from khw.cluster.file import template
    from khw.cluster.schema import put_beside

    if file.exists() and not force:
        raise UsageError(f"{file} is there already", hint="--force replaces it")
    if project:
        text = template(project=project)
    else:
        from khw.lab import lab as labs

        text = template(project=labs.project_of(lab_name), endpoint=labs.endpoint_of(lab_name))
    write_atomically(file, text.encode())
    put_beside(file)


def plan_for(
    session: Session, phases: tuple[Phase, ...], *, limit: str | None, failed: bool, parallel: int
) -> Plan | None:
    """Return what to run: `--limit` as named, `--failed` as the journals say; None if nothing is undone."""
    from khw.engine.engine import Plan

    hosts = frozenset(filter(None, limit.split(","))) if limit else None
    if not failed:
        return Plan(phases=phases, limit=hosts, parallel=parallel)
    begin = _undone(session, _last(session).todo, hosts)
    return Plan(phases=phases, limit=frozenset(begin), begin=begin, parallel=parallel) if begin else None


def plan_to_resume(session: Session, *, parallel: int) -> Plan | None:
    """Return the last run's own plan, less what it did; None if it was through."""
    from khw.engine.engine import Plan
    from khw.engine.phases import PHASES

    last = _last(session)
    begin = _undone(session, {host: (stop,) for host, stop in last.stops.items()}, None)
    phases = tuple(phase for phase in PHASES if phase.name in last.phases)
    return Plan(phases=phases, limit=frozenset(begin), begin=begin, parallel=parallel) if begin else None


def _last(session: Session) -> PastRun:
    from khw.history.runs import last_run

    last = last_run(session.workspace.runs)
    if last is None:
        raise UsageError("there was no run yet", hint="khw run")
    if last.destroy:
        raise UsageError("the cluster was destroyed since the last run", hint="khw status; khw run makes it anew")
    return last


def _undone(session: Session, todo: Todo, hosts: frozenset[str] | None) -> dict[str, str]:
    """Return the phase to begin with, by host; hosts that the cluster file no longer asks for are let go."""
    from khw.engine.phases import PHASES
    from khw.history.status import first_undone

    order = [phase.name for phase in PHASES]
    wanted = [host for host in session.hosts if hosts is None or host in hosts]
    stops = {host: first_undone(todo.get(host, ()), order) for host in wanted}
    begin = {host: stop.phase for host, stop in stops.items() if stop}
    if any(stop and stop.away for stop in stops.values()):
        # A machine that was away may be back at another address: the firewall lets it in to the API from there.
        begin[OPERATOR] = min("load-balancer", begin.get(OPERATOR, "load-balancer"), key=order.index)
    return begin


def _tell(sinks: Sequence[Sink], text: str) -> None:
    from khw.engine.events import Notice

    for sink in sinks:
        sink(Notice(OPERATOR, text))


def _row(node: Node) -> dict[str, str | None]:
    return {
        "name": node.name,
        "role": ",".join(node.titles),
        "internal_ip": node.internal_ip,
        "external_ip": node.external_ip,
        "pod_cidr": node.pod_cidr,
        "zone": node.zone,
        "ssh": f"{node.ssh_user}@{node.ssh_host}:{node.ssh_port}" if node.ssh_host else None,
        "unreachable": node.unreachable or None,
    }
