"""The engine without a node: what one host's failure means for the others."""

from __future__ import annotations

import errno
import threading
import time
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest
from fakes import cluster

from khw.cluster.model import Facts
from khw.cluster.spec import Role, Spec
from khw.cluster.workspace import Workspace
from khw.converge.changes import Action, Change
from khw.engine import bounds
from khw.engine import phases as table
from khw.engine.engine import Engine, Plan
from khw.engine.events import GateOpened, Notice, PhaseWaits, RunEnded
from khw.engine.gates import Cancelled, Need, Quorum
from khw.engine.operator import Run
from khw.engine.phases import Phase
from khw.engine.report import OPERATOR, Outcome, Report
from khw.errors import DiskError, ProviderError, StepError, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from khw.engine.events import Event

CONTROLLERS = ("controller-0", "controller-1", "controller-2")
WORKERS = ("worker-0", "worker-1", "worker-2")
NODES = frozenset({Role.CONTROLLER, Role.WORKER})


def here(_run: Run) -> Iterable[Change]:
    return [Change(resource="here", action=Action.CREATED)]


def marked(name: str) -> Any:
    """A task whose only resource says which phase it is: the fake converge below knows what to do with it."""
    return lambda node, _cluster, _pki: [Marked(name, node.name)]


class Marked(NamedTuple):
    phase: str
    host: str

    @property
    def id(self) -> str:
        return self.phase


PHASES = (
    Phase(name="compute", chapter=3, title="", operator=here),
    Phase(name="certificates", chapter=4, title="", operator=here, roles=NODES, task=marked("certificates")),
    Phase(name="etcd", chapter=7, title="", roles=frozenset({Role.CONTROLLER}), task=marked("etcd")),
    Phase(
        name="rbac",
        chapter=8,
        title="",
        roles=frozenset({Role.CONTROLLER}),
        task=marked("rbac"),
        once=True,
        needs=(Need("etcd", Role.CONTROLLER, Quorum.MAJORITY),),
    ),
    Phase(
        name="workers",
        chapter=9,
        title="",
        roles=frozenset({Role.WORKER}),
        task=marked("workers"),
        settle_needs=(Need("etcd", Role.CONTROLLER, Quorum.MAJORITY),),
    ),
    Phase(
        name="smoke",
        chapter=13,
        title="",
        operator=here,
        needs=(Need("workers", Role.WORKER, Quorum.ALL), Need("rbac", Role.CONTROLLER)),
    ),
)


@dataclass
class World:
    """What happens on nodes: every phase changes one thing, unless `trouble` says otherwise."""

    folder: Path
    trouble: dict[tuple[str, str], Exception] = field(default_factory=dict)
    unreachable: tuple[str, ...] = ()
    skew: float = 0
    pace: float = 0  # seconds for a phase on a node
    did: list[tuple[str, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    spec: Spec = field(default_factory=Spec)
    lanes: set[int] = field(default_factory=set)  # the threads that were at work
    before: Any = None  # who lets phases begin
    closed: list[str] = field(default_factory=list)

    def run(self, **plan: Any) -> Report:
        it = cluster(self.spec)
        provider = SimpleNamespace(discover=lambda: it, look_ahead=lambda _phases: None)
        workspace = Workspace.beside(self.folder / "khw.yaml", "test")
        run = Run(spec=it.spec, workspace=workspace, provider=cast("Any", provider), store=cast("Any", None))
        run._pki = cast("Any", object())
        run.before = self.before or run.before
        return Engine(run, Plan(**{"phases": PHASES, **plan}), "1", [self.events.append]).execute()

    def converge(self, _agent: Any, resources: Any, _store: Any, **options: Any) -> None:
        ((phase, host),) = resources
        self.did.append((phase, host))
        self.lanes.add(threading.get_ident())
        time.sleep(self.pace)
        if error := self.trouble.get((phase, host)):
            raise error
        options["on_change"](Change(resource=phase, action=Action.CREATED))
        with options["settle"]():
            pass

    def agent(self, host: Any) -> Any:
        if host.name in self.unreachable:
            raise UnreachableError("no answer", node=host.name)
        return SimpleNamespace(
            facts=Facts(), skew=self.skew, round_trips=1, bytes_sent=2, bytes_relayed=3, close=lambda: None
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    it = World(tmp_path)
    monkeypatch.setattr("khw.engine.step.converge", it.converge)
    connections: dict[str, Any] = {}

    def get_connection(host: Any, _name: str, _config: object) -> Any:
        if host.name not in connections:
            connections[host.name] = it.agent(host)
        return connections[host.name]

    monkeypatch.setattr("nornir.core.inventory.Host.get_connection", get_connection)
    monkeypatch.setattr(
        "nornir.core.inventory.Host.close_connection", lambda host, _name: it.closed.append(host.name), raising=True
    )
    return it


def outcomes(report: Report, host: str) -> dict[str, Outcome]:
    return {result.phase: result.outcome for result in report.hosts.get(host, [])}


def test_all_hosts_walk_their_own_phases(world: World) -> None:
    report = world.run()
    assert report.exit_code == 0
    assert set(report.hosts) == {OPERATOR, *CONTROLLERS, *WORKERS}
    assert set(outcomes(report, "worker-0")) == {"certificates", "workers"}
    assert set(outcomes(report, OPERATOR)) == {"compute", "certificates", "smoke"}
    assert report.round_trips == 6


def test_once_per_cluster_work_is_done_once(world: World) -> None:
    report = world.run()
    rbac = [outcomes(report, host)["rbac"] for host in CONTROLLERS]
    assert sorted(rbac) == [Outcome.CHANGED, Outcome.ELSEWHERE, Outcome.ELSEWHERE]
    assert [phase for phase, _ in world.did].count("rbac") == 1


def test_a_failed_worker_stops_itself_and_what_needs_it(world: World) -> None:
    world.trouble["certificates", "worker-1"] = StepError("disk full")
    report = world.run()
    assert report.exit_code == 3
    assert outcomes(report, "worker-1") == {"certificates": Outcome.FAILED}
    assert outcomes(report, "worker-0")["workers"] is Outcome.CHANGED
    assert outcomes(report, OPERATOR)["smoke"] is Outcome.BLOCKED
    smoke = report.stopped(OPERATOR)
    assert smoke is not None
    assert "worker-1 failed" in str(smoke.error)


def test_one_lost_controller_of_three_holds_nobody_up(world: World) -> None:
    world.unreachable = ("controller-0",)
    report = world.run()
    assert report.exit_code == 4
    assert outcomes(report, "controller-0") == {"certificates": Outcome.UNREACHABLE}
    assert outcomes(report, OPERATOR)["smoke"] is Outcome.CHANGED


@pytest.mark.parametrize("host", [*CONTROLLERS, *WORKERS])
@pytest.mark.parametrize("limited", [False, True])
def test_a_host_that_cannot_be_reached_is_never_a_success(world: World, host: str, limited: bool) -> None:
    world.unreachable = (host,)
    report = world.run(limit=frozenset({host})) if limited else world.run()
    assert report.exit_code in {3, 4}
    assert Outcome.UNREACHABLE in outcomes(report, host).values()
    assert not any(outcome.good for outcome in outcomes(report, host).values())


def test_a_full_disk_of_this_machine_is_no_bug_of_khws(world: World) -> None:
    world.trouble["certificates", "worker-0"] = OSError(errno.ENOSPC, "No space left on device")
    stopped = world.run().stopped("worker-0")
    assert stopped
    assert isinstance(stopped.error, DiskError)
    assert "No space left on device" in stopped.error.message
    assert "make room" in stopped.error.hint


def test_two_lost_controllers_of_three_block_with_the_reason(world: World) -> None:
    world.trouble["etcd", "controller-0"] = world.trouble["etcd", "controller-1"] = StepError("no")
    report = world.run()
    assert outcomes(report, "controller-2")["rbac"] is Outcome.BLOCKED
    assert outcomes(report, "worker-0")["workers"] is Outcome.BLOCKED


def test_one_place_at_work_is_enough(world: World) -> None:
    assert world.run(parallel=1).exit_code == 0


def test_more_hosts_than_lanes_come_to_their_end_in_no_more_lanes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "LANES_A_PLACE", 1)
    monkeypatch.setattr(bounds, "KEPT", 2)
    world.spec = Spec(workers=Spec().workers.model_copy(update={"count": 40}))
    report = world.run(parallel=1)
    assert report.exit_code == 0
    assert len(report.hosts) == 44
    assert len(world.lanes) <= 5, "the operator's, three controllers', and one for all workers"
    assert len(world.closed) == 41, "two connections are kept"
    assert report.round_trips == 43, "those of closed ones are counted, too"


def test_no_host_waits_for_one_that_may_have_no_lane() -> None:
    waits = {need.role for phase in table.PHASES if Role.WORKER in phase.roles for need in phase.needs}
    settles = {need.role for phase in table.PHASES if Role.WORKER in phase.roles for need in phase.settle_needs}
    assert Role.WORKER not in waits | settles, "workers may outnumber the lanes (khw.engine.bounds)"


def test_who_waits_is_told_with_who_is_waited_for_and_that_the_gate_opened(world: World) -> None:
    world.run()
    waits = [e for e in world.events if isinstance(e, PhaseWaits) and (e.host, e.phase) == (OPERATOR, "smoke")]
    assert {wait.awaited for wait in waits} <= {"workers", "rbac"}
    assert waits
    assert set(waits[0].holders) <= {*WORKERS, *CONTROLLERS}
    assert GateOpened(OPERATOR, "smoke") in world.events
    assert world.events.index(GateOpened(OPERATOR, "smoke")) > world.events.index(waits[-1])


def test_a_host_without_a_place_at_work_says_so(world: World) -> None:
    world.pace = 0.02
    world.run(parallel=1)
    reasons = {event.reason for event in world.events if isinstance(event, PhaseWaits)}
    assert "a place at work (-j)" in reasons


def test_once_per_cluster_work_is_waited_for_by_name(world: World) -> None:
    world.pace = 0.1
    world.run()
    waits = [
        event for event in world.events if isinstance(event, PhaseWaits) and event.awaited == event.phase == "rbac"
    ]
    assert waits
    assert all(len(wait.holders) == 1 and wait.holders[0] != wait.host for wait in waits)


def test_the_end_tells_round_trips_and_bytes_by_host(world: World) -> None:
    world.run()
    ended = world.events[-1]
    assert isinstance(ended, RunEnded)
    assert ended.round_trips == dict.fromkeys((*CONTROLLERS, *WORKERS), 1)
    assert ended.bytes_sent == dict.fromkeys((*CONTROLLERS, *WORKERS), 2)


def test_a_limit_touches_nobody_else_and_takes_the_rest_as_done(world: World) -> None:
    report = world.run(limit=frozenset({"worker-2"}))
    assert set(report.hosts) == {"worker-2"}
    assert report.exit_code == 0
    assert world.did == [("certificates", "worker-2"), ("workers", "worker-2")]


def test_a_host_takes_up_where_it_stopped(world: World) -> None:
    world.run(limit=frozenset({"worker-2", OPERATOR}), begin={"worker-2": "workers", OPERATOR: "smoke"})
    assert world.did == [("workers", "worker-2")]


def test_trouble_on_the_ground_leaves_the_nodes_alone(world: World) -> None:
    def refused(_run: Run) -> Iterable[Change]:
        raise ProviderError("the project does not exist")

    first = Phase(name="compute", chapter=3, title="", operator=refused)
    report = world.run(phases=(first, *PHASES[1:]))
    assert report.exit_code == 1
    assert world.did == []


def test_a_bug_in_one_lane_is_reported_and_stays_there(world: World) -> None:
    world.trouble["workers", "worker-0"] = ZeroDivisionError("oops")
    report = world.run()
    assert outcomes(report, "worker-1")["workers"] is Outcome.CHANGED
    stopped = report.stopped("worker-0")
    assert stopped is not None
    assert "ZeroDivisionError" in str(stopped.error)


def test_any_change_makes_the_last_smoke_test_void(world: World) -> None:
    workspace = Workspace.beside(world.folder / "khw.yaml", "test")
    workspace.prepare()
    smoked = workspace.smoked
    smoked.write_text("yesterday")
    world.run(limit=frozenset({"nobody"}), phases=PHASES[:1])
    assert smoked.exists()
    world.run(limit=frozenset({"worker-2"}))
    assert not smoked.exists()


def test_a_wrong_clock_is_named(world: World) -> None:
    world.skew = -600
    stopped = world.run(limit=frozenset({"worker-0"})).stopped("worker-0")
    assert stopped is not None
    assert "clock" in str(stopped.error)


def test_every_phase_of_the_table_concerns_somebody_and_every_need_is_a_phase() -> None:
    names = {phase.name for phase in table.PHASES}
    for phase in table.PHASES:
        assert phase.operator or phase.task
        assert {need.phase for need in (*phase.needs, *phase.settle_needs)} <= names


def foresee(world: World, missing: frozenset[str], **plan: Any) -> Report:
    """Plan with these machines not made yet."""
    it = cluster(Spec())
    nodes = tuple(
        replace(node, exists=False, unreachable="its instance does not exist") if node.name in missing else node
        for node in it.nodes
    )
    provider = SimpleNamespace(look_ahead=lambda _phases: None, foresee=lambda: replace(it, nodes=nodes))
    run = Run(
        spec=it.spec,
        workspace=Workspace.beside(world.folder / "khw.yaml", "test"),
        provider=cast("Any", provider),
        store=cast("Any", None),
        check=True,
        foresee=True,
    )
    run._pki = cast("Any", object())
    return Engine(run, Plan(**{"phases": PHASES, **plan}), "1", [world.events.append]).execute()


def notices(world: World) -> str:
    return "\n".join(event.text for event in world.events if isinstance(event, Notice))


def test_a_plan_takes_a_machine_as_made_that_its_run_would_make(world: World) -> None:
    world.unreachable = ("worker-1",)
    report = foresee(world, frozenset({"worker-1"}))
    assert report.exit_code == 0
    assert set(outcomes(report, "worker-1")) == {"certificates", "workers"}
    assert "not made yet: worker-1" in notices(world)
    assert not (world.folder / ".khw").exists()


@pytest.mark.parametrize("selection", [{"phases": PHASES[1:]}, {"limit": frozenset({"worker-1"})}])
def test_a_plan_takes_a_machine_as_unreachable_that_its_run_would_not_make(
    world: World, selection: dict[str, Any]
) -> None:
    world.unreachable = ("worker-1",)
    report = foresee(world, frozenset({"worker-1"}), **selection)
    assert report.exit_code == 4
    assert outcomes(report, "worker-1") == {"certificates": Outcome.UNREACHABLE}


def test_before_there_is_any_machine_every_selection_can_be_planned(world: World) -> None:
    everyone = frozenset({*CONTROLLERS, *WORKERS})
    world.unreachable = tuple(everyone)
    report = foresee(world, everyone, phases=PHASES[1:], limit=frozenset({"worker-1"}))
    assert report.exit_code == 0
    assert set(report.hosts) == {"worker-1"}
    assert "khw run --phase compute makes them" in notices(world)


def test_ctrl_c_on_the_ground_begins_nothing_on_nodes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pressed: list[int] = []
    monkeypatch.setattr("khw.interrupt.pressed", lambda: bool(pressed))

    def press(_run: Run) -> Iterable[Change]:
        pressed.append(1)
        return []

    first = Phase(name="compute", chapter=3, title="", operator=press)
    report = world.run(phases=(first, *PHASES[1:]))
    assert report.exit_code == 130
    assert world.did == []
    assert isinstance(world.events[-1], RunEnded)
    assert world.events[-1].exit_code == 130


def test_an_error_of_the_whole_run_is_its_end_in_the_journal(world: World) -> None:
    with pytest.raises(UsageError):
        world.run(limit=frozenset({"worker-9"}))
    ended = world.events[-1]
    assert isinstance(ended, RunEnded)
    assert (ended.exit_code, "worker-9" in ended.error) == (2, True)


def test_a_phase_begins_behind_its_gates_and_when_it_is_let(world: World) -> None:
    asked: list[tuple[str, str]] = []

    def before(phase: Phase, host: str) -> None:
        if phase.name == "rbac":
            assert sum(name == "etcd" for name, _ in world.did) >= 2
        assert (phase.name, host) not in world.did
        asked.append((phase.name, host))

    world.before = before
    assert world.run().exit_code == 0
    assert len([row for row in asked if row[0] == "etcd"]) == 3
    assert len([row for row in asked if row[0] == "rbac"]) == 1  # once a cluster


def test_a_phase_that_is_not_let_begin_is_cancelled_and_so_is_what_follows(world: World) -> None:
    def before(phase: Phase, _host: str) -> None:
        if phase.name in {"etcd", "workers"}:
            raise Cancelled

    world.before = before
    report = world.run()
    assert report.exit_code == 130
    assert {name for name, _ in world.did} == {"certificates"}
    assert {report.hosts[name][-1].outcome for name in CONTROLLERS} == {Outcome.CANCELLED}
