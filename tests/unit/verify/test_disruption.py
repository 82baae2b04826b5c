from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from fakes import FakeAgent, FakeKubectl, cluster

from khw.checks import CheckResult, Status
from khw.cluster.spec import Pool, Spec
from khw.kubectl import KubectlError
from khw.verify import Context, disruption, smoke

if TYPE_CHECKING:
    from collections.abc import Callable

CLUSTER = cluster()
SMALL = cluster(
    Spec(controllers=Pool(count=1, name="controller", first_address=CLUSTER.spec.controllers.first_address))
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disruption, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(disruption, "WRITE_SECONDS", 0.05)
    monkeypatch.setattr(disruption, "BACK_SECONDS", 0.05)


class Api:
    """kubectl before and after a reboot: the node's `Starting` events, and whether writes come through."""

    def __init__(self, *, writes: bool = True, reboots: bool = True) -> None:
        self.writes = writes
        self.reboots = reboots
        self.asked = 0

    def __call__(self, arguments: tuple[str, ...]) -> Any:
        if arguments[1] == "configmap" and not self.writes:
            raise KubectlError("kubectl create: EOF")
        if arguments[1] == "events":
            self.asked += 1
            count = self.asked if self.reboots else 1
            return {"items": [{"metadata": {"uid": "1"}, "count": count, "lastTimestamp": "now"}]}
        return {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}


def disrupt(api: Api, *, of: Any = CLUSTER) -> tuple[dict[str, CheckResult], list[tuple[str, ...]]]:
    typed: list[tuple[str, ...]] = []

    def answer(argv: tuple[str, ...]) -> str:
        typed.append(argv)
        return ""

    agents = {node.name: FakeAgent(answer) for node in of.nodes}
    context = Context(
        cluster=of,
        pki=cast("Any", None),
        agents=cast("Any", agents),
        provider=cast("Any", None),
        kubectl=cast("Any", FakeKubectl(cast("Callable[[tuple[str, ...]], Any]", api))),
    )
    return {result.name: result for result in disruption.run(context)}, typed


def test_a_cluster_that_takes_writes_without_a_controller_passes() -> None:
    results, typed = disrupt(Api())
    assert results["losing a controller"].status is Status.PASSED
    assert [argv[1] for argv in typed] == ["stop", "start", "is-active", "reboot"]


def test_a_controller_is_started_again_also_when_no_write_came_through() -> None:
    results, typed = disrupt(Api(writes=False))
    assert results["losing a controller"].status is Status.FAILED
    assert results["losing a controller"].actual == "no write, all back"
    assert "start" in [argv[1] for argv in typed]


def test_where_etcd_has_machines_of_its_own_two_controllers_are_enough_and_none_is_asked_for_its_etcd() -> None:
    address = CLUSTER.spec.controllers.first_address
    apart = Spec(
        controllers=Pool(count=2, name="controller", first_address=address),
        etcd=Pool(count=3, name="etcd", first_address=address + 20),
    )
    results, typed = disrupt(Api(), of=cluster(apart))
    assert results["losing a controller"].status is Status.PASSED
    stopped = next(argv for argv in typed if argv[1] == "stop")
    assert "kube-apiserver" in stopped
    assert "etcd" not in stopped


def test_one_controller_cannot_be_lost() -> None:
    results, typed = disrupt(Api(), of=SMALL)
    assert results["losing a controller"].status is Status.SKIPPED
    assert "stop" not in [argv[1] for argv in typed]


def test_a_node_that_is_ready_but_never_started_again_did_not_reboot() -> None:
    results, _ = disrupt(Api(reboots=False))
    assert results["a reboot"].status is Status.FAILED


def test_the_smoke_test_disrupts_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = CheckResult(name="x", node="", status=Status.PASSED, expected="", actual="")
    failed = CheckResult(name="DNS", node="worker-0", status=Status.FAILED, expected="", actual="")
    rounds = iter([[passed], [passed], [failed]])
    monkeypatch.setattr(smoke, "run_checks", lambda _context, _checks: next(rounds))
    monkeypatch.setattr(disruption, "run", lambda _context: [])
    context = cast("Context", None)
    assert smoke.run(context) == [passed]
    last = smoke.run(context, disruptive=True)[-1]
    assert (last.status, last.actual) == (Status.FAILED, "failed: DNS worker-0")
