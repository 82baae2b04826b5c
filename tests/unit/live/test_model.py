from __future__ import annotations

from khw.converge.changes import Action, Change
from khw.engine.events import (
    BytesTaken,
    Event,
    GateOpened,
    Notice,
    PhaseEnded,
    PhaseStarted,
    PhaseWaits,
    Progress,
    ResourceDone,
    ResourceStarted,
    RunStarted,
)
from khw.engine.report import OPERATOR, Outcome, PhaseResult
from khw.errors import StepError
from khw.live.model import Model, Now

LANES = {OPERATOR: ("tools",), "controller-0": ("etcd",), "controller-1": ("etcd",), "worker-0": ("workers",)}
START = RunStarted("1", tuple(LANES), ("tools", "etcd", "workers"), LANES)


def ended(host: str, phase: str, outcome: Outcome = Outcome.OK) -> PhaseEnded:
    error = None if outcome.good else StepError("it did not start")
    return PhaseEnded(PhaseResult(host=host, phase=phase, outcome=outcome, started=0, ended=1, error=error))


def after(*events: Event) -> Model:
    model = Model()
    for second, event in enumerate((START, *events)):
        model.apply(event, 100.0 + second)
    return model


def test_a_host_is_at_work_on_one_resource_after_another() -> None:
    model = after(PhaseStarted("worker-0", "workers"), ResourceStarted("worker-0", "workers", "unit:kubelet.service"))
    row = model.rows["worker-0"]
    assert (row.cells["workers"], row.resource, row.since) == (Now.AT_WORK, "unit:kubelet.service", 102.0)


def test_who_holds_a_gate_gets_fewer_as_hosts_come_through() -> None:
    waits = PhaseWaits("worker-0", "workers", "etcd on any controller", "etcd", ("controller-0", "controller-1"))
    model = after(waits)
    assert model.still(waits) == ("controller-0", "controller-1")
    model.apply(ended("controller-0", "etcd"), 110.0)
    assert model.still(waits) == ("controller-1",)
    model.apply(GateOpened("worker-0", "workers"), 111.0)
    assert model.rows["worker-0"].waits is None


def test_bytes_are_counted_for_the_resource_the_host_and_the_run() -> None:
    model = after(ResourceStarted("worker-0", "workers", "binary:/usr/local/bin/kubelet", 30_000_000))
    for second in (1, 2):
        model.apply(BytesTaken("worker-0", "workers", 9_000_000), 101.0 + second)
    assert model.rows["worker-0"].sent == 18_000_000
    assert model.flow.taken == 18_000_000
    assert model.flow.speed(103.0) == 6_000_000
    assert model.flow.speed(200.0) == 0


def test_only_failures_and_notices_are_told_beside_the_picture() -> None:
    model = after()
    failed = ended("controller-0", "etcd", Outcome.FAILED)
    change = Change(resource="file:/a", action=Action.CREATED)
    told = [
        model.apply(event, 101.0)
        for event in (
            ended("controller-1", "etcd"),
            failed,
            Progress(OPERATOR, "kubelet: 5 of 9 packages"),
            Notice(OPERATOR, "read me"),
            ResourceDone("worker-0", "workers", change),
        )
    ]
    assert told == [None, failed, None, Notice(OPERATOR, "read me"), None]
    assert model.rows["controller-0"].stopped is Outcome.FAILED
    assert model.rows["controller-1"].through
    assert model.rows[OPERATOR].text == "kubelet: 5 of 9 packages"
    assert model.changed == 1


def test_a_host_that_was_not_announced_is_shown_all_the_same() -> None:
    model = after(PhaseStarted("stranger", "etcd"))
    assert model.rows["stranger"].cells == {"etcd": Now.AT_WORK}
