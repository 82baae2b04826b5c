"""What is refused before anything is broken, and the order in which things are noted, broken and put right."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from fakes import FakeAgent, cluster

from khw.checks import CheckResult, Status
from khw.cluster.spec import Gcp, Pool, Spec, Static
from khw.cluster.workspace import Workspace
from khw.drills import practice, way_back
from khw.drills.practice import Practice, in_lab, lacks, require_lab
from khw.drills.state import Stage, State, load, save
from khw.drills.table import DRILLS, drill
from khw.engine.lock import hold
from khw.errors import KhwError, LockedError, StepError, UsageError
from khw.ssh.client import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from khw.drills.drill import Values
    from khw.drills.ground import Ground

LAB = Spec(gcp=Gcp(project="khw-lab", endpoint="http://127.240.0.1:8080", credentials="anonymous"))
GOOGLE = Spec(gcp=Gcp(project="mine"))
STATIC = Spec(provider="static", static=Static(api_address="192.0.2.1", nodes=()))


@dataclass
class FakeSession:
    """A session on a cluster that is not there: each node answers every command with nothing."""

    workspace: Workspace
    spec: Spec = LAB
    well: bool = True
    etcd_well: bool = True
    ran: int = 0
    provider: Any = None
    said: dict[str, list[str]] = field(default_factory=dict)

    @contextmanager
    def connected(self) -> Iterator[Any]:
        it = cluster(self.spec)
        agents = {node.name: self._agent(node.name) for node in it.nodes}
        yield SimpleNamespace(cluster=it, agents=agents, unreachable={}, provider=None, kubectl=None, pki=None)

    def _agent(self, node: str) -> Any:
        def answer(argv: tuple[str, ...]) -> str | Completed:
            self.said.setdefault(node, []).append(argv[-1])
            if "endpoint health" in argv[-1] and not self.etcd_well:
                return Completed(argv, 1, "", "context deadline exceeded")
            return '[{"Status": {"header": {"cluster_id": 7}}}]' if "status" in argv[-1] else ""

        agent = FakeAgent(answer)
        cast("Any", agent).read = lambda _path: b"a snapshot"
        return agent

    def verify(self, *, wait: float = 0.0) -> Any:
        assert wait > 0
        return SimpleNamespace(ok=self.well, results=())


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSession:
    monkeypatch.setattr(practice, "prove", lambda _drill, _ground: [])
    return FakeSession(Workspace(tmp_path / "ws"))


def practised(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch, make: Callable[[Ground, Values], None]
) -> Practice:
    """Return the practice of a session whose only drill breaks things in this way."""
    it = replace(drill("forward-policy"), make=make)
    monkeypatch.setattr(practice, "drill", lambda _name: it)
    monkeypatch.setattr(practice, "DRILLS", (it,))
    return Practice(cast("Any", session))


def run_well(session: FakeSession) -> Any:
    session.ran += 1
    return SimpleNamespace(report=SimpleNamespace(exit_code=0))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (LAB, True),
        (GOOGLE, False),
        (STATIC, False),
        (Spec(gcp=Gcp(project="p", endpoint="https://compute.example.com", credentials="anonymous")), False),
        (Spec(gcp=Gcp(project="p", endpoint="http://127.0.0.1:1", credentials="default")), False),
    ],
)
def test_a_lab_is_a_project_on_this_machine_that_asks_for_no_credentials(spec: Spec, expected: bool) -> None:
    assert in_lab(spec) is expected


def test_outside_a_lab_nothing_starts_unless_the_cluster_is_named() -> None:
    with pytest.raises(UsageError) as error:
        require_lab(GOOGLE, "")
    assert f"--really {GOOGLE.name}" in error.value.hint
    with pytest.raises(UsageError):
        require_lab(GOOGLE, "another-one")
    require_lab(GOOGLE, GOOGLE.name)
    require_lab(LAB, "")


def test_a_cluster_that_is_too_small_or_has_no_project_is_told_so() -> None:
    small = Spec(gcp=LAB.gcp, controllers=Pool(name="controller", first_address=cast("Any", "10.240.0.10"), count=1))
    assert lacks(drill("etcd-leader"), small) == "3 members of etcd"
    assert lacks(drill("etcd-quorum"), small) == "3 controllers"
    assert "project" in lacks(drill("pod-route"), STATIC)
    assert not [row.name for row in DRILLS if lacks(row, LAB)]


def test_where_etcd_has_machines_of_its_own_drills_about_the_controllers_etcd_say_so() -> None:
    etcd = Pool(name="etcd", first_address=cast("Any", "10.240.0.30"), count=3)
    apart = Spec(gcp=LAB.gcp, etcd=etcd)
    told = {row.name: lacks(row, apart) for row in DRILLS}
    about = {"etcd-quorum", "etcd-disk", "etcd-space", "encryption-key", "machine-stopped"}
    assert {name for name, text in told.items() if text} == about
    assert {told[name] for name in about} == {"etcd on the controllers"}


def test_the_state_is_kept_before_anything_is_broken(session: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[State | None] = []
    it = practised(session, monkeypatch, lambda _ground, _values: seen.append(load(session.workspace.drill)))
    told = it.start("forward-policy")
    assert "worker-0" in told
    assert [state.stage for state in seen if state] == [Stage.STARTING]
    after = load(session.workspace.drill)
    assert after is not None
    assert after.stage is Stage.RUNNING
    assert (session.workspace.drill_folder / "etcd.db").read_bytes() == b"a snapshot"


def test_a_start_that_fails_half_way_is_known_and_stopped(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_ground: Ground, _values: Values) -> None:
        raise StepError("half broken")

    it = practised(session, monkeypatch, fail)
    with pytest.raises(StepError):
        it.start("forward-policy")
    with pytest.raises(UsageError, match="begun already"):
        it.start("forward-policy")
    with pytest.raises(UsageError, match="cut off"):
        it.hint()
    assert it.stop(None, lambda: run_well(session)).ok
    assert session.ran == 1
    assert not session.workspace.drill.exists()
    assert not session.workspace.drill_folder.exists()
    assert "iptables --policy FORWARD ACCEPT" in session.said["worker-0"]


def test_a_second_start_is_refused(session: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    it = practised(session, monkeypatch, lambda _ground, _values: None)
    it.start(None)
    with pytest.raises(UsageError, match="runs already"):
        it.start("forward-policy")


def test_nothing_starts_or_stops_while_a_run_holds_the_cluster(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = practised(session, monkeypatch, lambda _ground, _values: pytest.fail("it broke something"))
    session.workspace.prepare()
    with hold(session.workspace.lock, "run"):
        with pytest.raises(LockedError):
            it.start("forward-policy")
        with pytest.raises(LockedError):
            it.stop("forward-policy", lambda: run_well(session))
    assert load(session.workspace.drill) is None


def test_a_cluster_that_is_not_well_is_not_broken_further(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = practised(session, monkeypatch, lambda _ground, _values: pytest.fail("it broke something"))
    bad = CheckResult(name="pod to pod to worker-1", node="worker-0", status=Status.FAILED, expected="", actual="")
    monkeypatch.setattr(practice, "prove", lambda _drill, _ground: [bad])
    with pytest.raises(KhwError, match="not well before the drill: pod to pod"):
        it.start("forward-policy")
    assert load(session.workspace.drill) is None


def test_hints_come_one_by_one_and_the_last_one_stays(session: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    it = practised(session, monkeypatch, lambda _ground, _values: None)
    it.start("forward-policy")
    given = [it.hint() for _ in range(6)]
    assert [hint.number for hint in given] == [1, 2, 3, 4, 4, 4]
    assert given[-1].text.splitlines()[1].strip() == "khw ssh worker-0 sudo iptables --policy FORWARD ACCEPT"


def test_a_drill_is_not_ended_before_the_cluster_is_right(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = practised(session, monkeypatch, lambda _ground, _values: None)
    it.start("forward-policy")
    session.well = False
    assert not it.stop(None, lambda: run_well(session)).ok
    state = load(session.workspace.drill)
    assert state is not None
    assert state.stage is Stage.STOPPING
    session.well = True
    assert it.stop(None, lambda: run_well(session)).ok
    assert load(session.workspace.drill) is None


def test_an_etcd_that_a_run_cannot_put_right_begins_again_from_the_snapshot(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All machines were deleted, say: the first run brings etcdutl and fails, the second one meets the old data."""

    def run() -> Any:
        session.ran += 1
        assert session.ran == 1 or any("etcdutl snapshot restore" in line for line in session.said["controller-2"])
        return SimpleNamespace(report=SimpleNamespace(exit_code=3 if session.ran == 1 else 0))

    monkeypatch.setattr(way_back, "PATIENCE", 0.0)
    monkeypatch.setattr(way_back, "revive_etcd", lambda _ground, _file: (_ for _ in ()).throw(StepError("no etcdutl")))
    it = practised(session, monkeypatch, lambda _ground, _values: None)
    it.start("forward-policy")
    session.etcd_well = False
    assert it.stop(None, run).ok
    assert session.ran == 2


def test_without_a_state_the_name_says_what_to_put_right(session: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    it = practised(session, monkeypatch, lambda _ground, _values: None)
    session.workspace.prepare()
    with pytest.raises(UsageError, match="no drill is running"):
        it.stop(None, lambda: run_well(session))
    session.workspace.drill.write_text("not what it was")
    assert it.stop("forward-policy", lambda: run_well(session)).ok
    assert "iptables --policy FORWARD ACCEPT" in session.said["worker-0"]


def test_files_that_came_during_the_drill_are_taken_away_and_others_stay() -> None:
    from khw.drills.ground import Ground as RealGround

    asked: list[str] = []

    def answer(argv: tuple[str, ...]) -> str:
        asked.append(argv[-1])
        return "/etc/cni/net.d/10-bridge.conf\n/etc/cni/net.d/00-mine.conf\n" if argv[-1].startswith("ls") else ""

    it = cluster(LAB)
    context = SimpleNamespace(cluster=it, agents={"worker-0": FakeAgent(answer)}, unreachable={})
    ground = RealGround(context=cast("Any", context), folder=cast("Any", None))
    way_back.sweep(ground, ("worker-0:/etc/cni/net.d/10-bridge.conf",))
    assert [line for line in asked if line.startswith("rm")] == [
        "rm -rf /etc/cni/net.d/00-mine.conf; systemctl daemon-reload"
    ]


def test_members_that_do_not_answer_are_waited_for_at_the_same_time() -> None:
    from khw.drills.ground import Ground as RealGround

    it = cluster(LAB)
    all_asked = threading.Barrier(len(it.controllers), timeout=5.0)

    def answer(argv: tuple[str, ...]) -> Completed:
        all_asked.wait()
        return Completed(argv, 1, "", "context deadline exceeded")

    agents = {node.name: FakeAgent(answer) for node in it.controllers}
    context = SimpleNamespace(cluster=it, agents=agents, unreachable={})
    assert not way_back.lives(RealGround(context=cast("Any", context), folder=cast("Any", None)))


def test_a_state_of_another_drill_is_not_overruled(session: FakeSession) -> None:
    session.workspace.prepare()
    save(session.workspace.drill, State(drill="rbac", values={}, found=()))
    with pytest.raises(UsageError, match="is rbac, not webhook"):
        Practice(cast("Any", session)).stop("webhook", lambda: run_well(session))


def test_a_hint_waits_for_nothing_slow() -> None:
    code = (
        "import sys\n"
        "import khw.cli.drill, khw.session, khw.drills.practice\n"
        "slow = {'netmiko', 'paramiko', 'nornir', 'google.cloud.compute_v1', 'rich'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
