"""How a round is run: nodes in one exchange each, errors as findings, pods made and taken away."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from fakes import FakeAgent, FakeKubectl, cluster

from khw.checks import Status
from khw.cluster.spec import Timeouts
from khw.errors import UnreachableError
from khw.kubectl import KubectlError
from khw.ssh.client import RemoteCommand
from khw.verify import Context, rounds
from khw.verify.bench import NAMESPACE
from khw.verify.check import NODES, WORKERS, ClusterCheck, Finding, NodeCheck, PodCheck
from khw.verify.table import CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from khw.checks import CheckResult
    from khw.ssh.connection import Agent, Completed
    from khw.verify.bench import Bench
    from khw.verify.check import Check

CLUSTER = cluster()
NAMES = [node.name for node in CLUSTER.nodes]


def pod(node: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"echo-{node}"},
        "spec": {"nodeName": node},
        "status": {"podIP": "10.200.0.2", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def ready(name: str, status: str = "True") -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": status}]}}


def api(pods: Iterable[str], not_ready: Iterable[str] = (), left: Iterable[Any] = ()) -> FakeKubectl:
    def answer(arguments: tuple[str, ...]) -> Any:
        if arguments[:2] == ("get", "pods"):
            return {"items": [pod(name) for name in pods]}
        if arguments[:2] == ("get", "nodes"):
            return {"items": [ready(n.name, str(n.name not in not_ready)) for n in CLUSTER.workers]}
        if arguments[:2] == ("get", "namespaces"):
            return {"items": left}
        if "service" in arguments:
            return {"spec": {"clusterIP": "10.32.0.77", "ports": [{"nodePort": 30123}]}}
        return ""

    return FakeKubectl(answer)


def context(
    agents: Mapping[str, FakeAgent] | None = None,
    kubectl: FakeKubectl | None = None,
    unreachable: Mapping[str, str] | None = None,
) -> Context:
    return Context(
        cluster=CLUSTER,
        pki=cast("Any", None),
        agents=cast("Mapping[str, Agent]", agents or {}),
        provider=cast("Any", None),
        kubectl=cast("Any", kubectl or api(())),
        unreachable=unreachable or {},
    )


def echo_check(name: str, *words: str) -> NodeCheck:
    def judge(_node: object, _context: object, answers: Iterable[Completed]) -> Iterable[Finding]:
        said = [answer.out for answer in answers]
        yield Finding(ok=said == list(words), expected=" ".join(words), actual=" ".join(said))

    return NodeCheck(
        name=name,
        roles=NODES,
        ask=lambda _node, _context: [RemoteCommand(("echo", word)) for word in words],
        judge=judge,
    )


def echoing() -> FakeAgent:
    return FakeAgent(lambda argv: argv[1])


def statuses(results: Iterable[CheckResult]) -> dict[tuple[str, str], Status]:
    return {(result.name, result.node): result.status for result in results}


def run(context: Context, *checks: Check) -> list[CheckResult]:
    return rounds.run_checks(context, checks)


def test_all_questions_to_a_node_travel_in_one_exchange() -> None:
    agents = {name: echoing() for name in NAMES}
    results = run(context(agents), echo_check("one", "a", "b"), echo_check("two", "c"))
    assert {agent.exchanges for agent in agents.values()} == {1}
    assert {result.status for result in results} == {Status.PASSED}
    assert [(r.name, r.node) for r in results] == [(check, name) for check in ("one", "two") for name in NAMES]


def test_slow_nodes_get_the_time_that_the_cluster_file_gives_them() -> None:
    slow = replace(CLUSTER, spec=CLUSTER.spec.model_copy(update={"timeouts": Timeouts(command=1200)}))
    limits = []
    for chosen in (CLUSTER, slow):
        agents = {name: echoing() for name in NAMES}
        run(replace(context(agents), cluster=chosen), echo_check("one", "a"))
        limits.append({agent.limit for agent in agents.values()})
    assert limits == [{60.0}, {600.0}]


def test_a_check_asks_only_nodes_of_its_role() -> None:
    check = echo_check("one", "a")
    workers_only = NodeCheck(name="one", roles=WORKERS, ask=check.ask, judge=check.judge)
    results = run(context({name: echoing() for name in NAMES}), workers_only)
    assert [result.node for result in results] == ["worker-0", "worker-1", "worker-2"]


def test_an_unreachable_node_is_a_failed_check_that_says_why() -> None:
    (result,) = run(context(unreachable={"worker-1": "connection refused"}), echo_check("one", "a"))
    assert (result.name, result.node, result.status) == ("reachable", "worker-1", Status.FAILED)
    assert result.actual == "connection refused"


def test_a_node_that_goes_away_during_the_round_fails_alone() -> None:
    def gone(_argv: tuple[str, ...]) -> str:
        raise UnreachableError("the connection was lost", node="worker-0")

    agents = {"worker-0": FakeAgent(gone), "worker-1": echoing()}
    assert statuses(run(context(agents), echo_check("one", "a"))) == {
        ("reachable", "worker-0"): Status.FAILED,
        ("one", "worker-1"): Status.PASSED,
    }


def test_an_error_of_one_check_is_its_finding_and_the_others_go_on() -> None:
    def fails(_context: Context) -> Iterable[Finding]:
        raise KubectlError("kubectl get nodes: Unauthorized", hint="khw run --phase kubectl")

    def strange(_context: Context) -> Iterable[Finding]:
        yield Finding(ok=True, expected="", actual=cast("Any", {})["items"])

    def well(_context: Context) -> Iterable[Finding]:
        yield Finding(ok=True, expected="x", actual="x")

    checks = [ClusterCheck(name=name, look=look) for name, look in (("a", fails), ("b", strange), ("c", well))]
    first, second, third = run(context(), *checks)
    assert (first.status, first.actual) == (Status.FAILED, "kubectl get nodes: Unauthorized")
    assert first.hint == "khw run --phase kubectl"
    assert (second.status, second.actual) == (Status.FAILED, "KeyError: 'items'")
    assert third.status is Status.PASSED


def see_pods(_context: Context, bench: Bench) -> Iterable[Finding]:
    yield Finding(ok=True, expected="", actual=" ".join(sorted(bench.pods)))


def test_pods_are_made_for_their_checks_and_taken_away() -> None:
    kubectl = api(node.name for node in CLUSTER.workers)
    (result,) = run(context(kubectl=kubectl), PodCheck(name="see", look=see_pods))
    assert result.actual == "worker-0 worker-1 worker-2"
    namespace = next(c for c in kubectl.calls if "service" in c)[1].removeprefix("--namespace=")
    assert namespace.startswith(NAMESPACE)
    assert kubectl.calls[-2][:3] == ("delete", "namespace", namespace)
    assert kubectl.calls[-1][:2] == ("delete", "pods")


def test_what_a_killed_round_left_is_swept_and_a_running_round_is_left_alone() -> None:
    now = datetime.now(UTC)
    ages = {"khw-verify-old": timedelta(hours=1), "khw-verify-now": timedelta(seconds=9)}
    left = [{"metadata": {"name": name, "creationTimestamp": (now - age).isoformat()}} for name, age in ages.items()]
    kubectl = api((node.name for node in CLUSTER.workers), left=left)
    run(context(kubectl=kubectl), PodCheck(name="see", look=see_pods))
    deleted = [call[2] for call in kubectl.calls if call[:2] == ("delete", "namespace")]
    assert "khw-verify-old" in deleted
    assert "khw-verify-now" not in deleted


def test_pods_are_taken_away_when_they_could_not_be_made() -> None:
    def answer(arguments: tuple[str, ...]) -> Any:
        if arguments[0] == "apply":
            raise KubectlError("kubectl apply: denied")
        return {"items": []}

    kubectl = FakeKubectl(answer)
    (result,) = run(context(kubectl=kubectl), PodCheck(name="see", look=see_pods))
    assert (result.name, result.status, result.actual) == ("test pods", Status.FAILED, "kubectl apply: denied")
    assert kubectl.calls[-2][:2] == ("delete", "namespace")


def test_no_one_waits_for_the_pod_of_a_node_that_is_not_ready() -> None:
    kubectl = api(("worker-0", "worker-2"), not_ready=("worker-1",))
    placed = next(check for check in CHECKS if check.name == "test pod")
    results = run(context(kubectl=kubectl), placed)
    assert statuses(results) == {
        ("test pod", "worker-0"): Status.PASSED,
        ("test pod", "worker-1"): Status.FAILED,
        ("test pod", "worker-2"): Status.PASSED,
    }


def test_what_needs_a_missing_pod_is_skipped_and_the_rest_is_done() -> None:
    kubectl = api(("worker-0", "worker-2"), not_ready=("worker-1",))
    pairs = next(check for check in CHECKS if check.name == "pod to pod")
    seen = statuses(run(context(kubectl=kubectl), pairs))
    assert len(seen) == 6
    assert {key for key, status in seen.items() if status is Status.PASSED} == {
        ("pod to pod to worker-2", "worker-0"),
        ("pod to pod to worker-0", "worker-2"),
    }


def test_chapter_13_is_part_of_the_table() -> None:
    names = [check.name for check in CHECKS if check.smoke]
    assert names == [
        "test pod",
        "exec",
        "pod to pod",
        "service",
        "NodePort",
        "DNS",
        "logs",
        "port-forward",
        "service account token",
        "deployment",
        "encryption at rest",
    ]
