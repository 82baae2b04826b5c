"""The judges of what the API, the provider and pods say."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from fakes import FakeAgent, FakeKubectl, cluster

from khw.artifacts import lock
from khw.inventory.provider import Route
from khw.kubectl import KubectlError, KubectlTimeoutError
from khw.ssh.client import Completed
from khw.tasks.dns import corefile
from khw.verify import Context, access, api_server, controllers, dns, encryption, network, nodes, workloads
from khw.verify.bench import Bench, Pod

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CLUSTER = cluster()
WORKER = CLUSTER.node("worker-1")
NOW = datetime(2026, 11, 23, 13, 56, tzinfo=UTC)
VERSION = lock.entry("kubelet").version


class Routes:
    def __init__(self, *rows: Route) -> None:
        self.rows = rows

    def routes(self) -> Sequence[Route]:
        return self.rows


def context(
    answer: Callable[[tuple[str, ...]], Any] = lambda _arguments: "",
    routes: Sequence[Route] = (),
    agents: dict[str, FakeAgent] | None = None,
) -> Context:
    return Context(
        cluster=CLUSTER,
        pki=cast("Any", None),
        agents=cast("Any", agents or {}),
        provider=cast("Any", Routes(*routes)),
        kubectl=cast("Any", FakeKubectl(answer)),
    )


def bench(answer: Callable[[tuple[str, ...]], Any], *, without: str = "") -> Bench:
    pods = {n.name: Pod(f"echo-{n.name}", n.name, "10.200.0.2") for n in CLUSTER.workers if n.name != without}
    return Bench(
        kubectl=cast("Any", FakeKubectl(answer)),
        namespace="khw-verify",
        pods=pods,
        missing={without: "the test pod is Pending (not started)"} if without else {},
        service_address="10.32.0.77",
        node_port=30123,
    )


def node_object(ready: str = "True", version: str = VERSION, address: str = "10.240.0.21") -> dict[str, Any]:
    return {
        "metadata": {"name": "worker-1"},
        "status": {
            "conditions": [{"type": "Ready", "status": ready, "message": "Kubelet stopped posting node status."}],
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": "worker-1"}],
            "nodeInfo": {"kubeletVersion": version},
        },
    }


def table(*changed: Route) -> list[Route]:
    rows = {
        node.pod_cidr: Route(f"kubernetes-route-{node.name}", "n", str(node.pod_cidr), node.internal_ip, 1000)
        for node in CLUSTER.workers
    }
    default = Route("default-route-1", "n", "0.0.0.0/0", "default-internet-gateway", 1000)
    return [default, *(rows | {route.dest_range: route for route in changed}).values()]


def test_a_ready_node_at_its_version_and_address_is_well() -> None:
    assert nodes.judge_node(WORKER, node_object()).ok


@pytest.mark.parametrize(
    ("item", "word"),
    [
        (None, "it never registered"),
        (node_object(ready="Unknown"), "Kubelet stopped posting node status."),
        (node_object(version="v1.36.0"), "v1.36.0"),
        (node_object(address="10.240.0.99"), "10.240.0.99"),
    ],
)
def test_a_node_that_is_not_as_it_should_be_says_how(item: Any, word: str) -> None:
    finding = nodes.judge_node(WORKER, item)
    assert not finding.ok
    assert finding.node == "worker-1"
    assert word in finding.actual


def test_a_node_that_the_cluster_file_does_not_name_is_a_stranger() -> None:
    item = node_object() | {"metadata": {"name": "intruder"}}
    last = list(nodes.ready(context(lambda _arguments: {"items": [item]})))[-1]
    assert (last.subject, last.actual) == ("strangers", "intruder")


def test_routes_as_the_guide_prints_them_are_well() -> None:
    assert all(finding.ok for finding in network.routes(context(routes=table())))


def test_a_missing_and_a_wrong_route_name_their_worker() -> None:
    wrong = Route("kubernetes-route-worker-0", "n", "10.200.0.0/24", "10.240.0.99", 1000)
    rows = [row for row in table(wrong) if row.dest_range != "10.200.2.0/24"]
    bad = {f.node: f.actual for f in network.routes(context(routes=rows)) if not f.ok}
    assert bad == {
        "worker-0": "kubernetes-route-worker-0 by 10.240.0.99",
        "worker-2": "no route to 10.200.2.0/24",
    }


def test_a_route_of_a_worker_that_is_gone_is_named() -> None:
    left = Route("kubernetes-route-worker-9", "n", "10.200.9.0/24", "10.240.0.29", 1000)
    bad = [f for f in network.routes(context(routes=table(left))) if not f.ok]
    assert [finding.subject for finding in bad] == ["kubernetes-route-worker-9"]


def test_a_lease_that_a_controller_renews_is_well() -> None:
    spec = {
        "holderIdentity": "controller-0_47cb702d-d6bb-40a1-b215-1f5a055d76e1",
        "leaseDurationSeconds": 15,
        "renewTime": "2026-11-23T13:55:59.135444Z",
    }
    finding = controllers.judge_lease(context(), "kube-scheduler", spec, NOW)
    assert finding.ok
    assert finding.actual == "held by controller-0, renewed 1 s ago"
    assert not controllers.judge_lease(context(), "kube-scheduler", spec, NOW + timedelta(minutes=1)).ok
    stranger = spec | {"holderIdentity": "laptop_1"}
    assert not controllers.judge_lease(context(), "kube-scheduler", stranger, NOW).ok
    assert controllers.judge_lease(context(), "kube-scheduler", None, NOW).actual == "nobody holds it"


def test_an_unhealthy_component_says_why() -> None:
    items = [
        {"metadata": {"name": "etcd-0"}, "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}]},
        {
            "metadata": {"name": "scheduler"},
            "conditions": [{"type": "Healthy", "status": "False", "error": "dial tcp 127.0.0.1:10259: refused"}],
        },
    ]
    found = {f.subject: f for f in controllers.component_status(context(lambda _arguments: {"items": items}))}
    assert found["etcd-0"].ok
    assert found["scheduler"].actual == "dial tcp 127.0.0.1:10259: refused"


def test_an_api_server_that_dropped_out_of_the_service_is_named() -> None:
    item = {"endpoints": [{"addresses": ["10.240.0.10"]}, {"addresses": ["10.240.0.12"]}]}
    found = {f.node: f.ok for f in api_server.endpoints(context(lambda _arguments: {"items": [item]}))}
    assert found == {"controller-0": True, "controller-1": False, "controller-2": True}


def test_a_load_balancer_that_does_not_answer_says_what_kubectl_said() -> None:
    def answer(_arguments: tuple[str, ...]) -> Any:
        raise KubectlError("kubectl get --raw: Unable to connect to the server: EOF")

    found = list(api_server.balanced(context(answer)))
    assert [finding.ok for finding in found] == [False, False, False]
    assert found[0].actual.endswith("EOF")


def test_dns_at_another_address_than_the_kubelets_say_is_a_failure() -> None:
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"port": 9153, "protocol": "TCP"}]

    def answer(arguments: tuple[str, ...]) -> Any:
        if "deployment" in arguments:
            return {"status": {"readyReplicas": 2}}
        return {"spec": {"clusterIP": "10.32.0.11", "ports": ports}}

    found = {f.subject: f for f in dns.deployed(context(answer))}
    assert found["replicas"].ok
    assert not found["service"].ok


def refused(_arguments: tuple[str, ...]) -> Any:
    raise KubectlError("kubectl exec: command terminated", evidence="TIMEOUT\ncommand terminated with exit code 1")


def test_a_pair_that_cannot_talk_is_named_with_the_reason() -> None:
    found = list(network.pod_to_pod(context(), bench(refused)))
    assert len(found) == 6
    assert {finding.actual for finding in found} == {"10.200.0.2:8080 TIMEOUT"}


def test_names_are_asked_for_from_every_worker() -> None:
    found = list(dns.from_pods(context(), bench(lambda _arguments: "", without="worker-2")))
    assert [(f.node, f.ok) for f in found if f.subject == "kubernetes.default"] == [
        ("worker-0", True),
        ("worker-1", True),
        ("worker-2", None),
    ]


def token_answers(username: str) -> Callable[[tuple[str, ...]], Any]:
    def answer(arguments: tuple[str, ...]) -> Any:
        if arguments[0] == "exec":
            return 'content of file "/var/run/secrets/kubernetes.io/serviceaccount/token": eyJ.hush.x\n'
        return {"status": {"authenticated": True, "user": {"username": username}}}

    return answer


def test_a_pods_token_is_shown_to_nobody_but_the_api() -> None:
    it = bench(token_answers("system:serviceaccount:khw-verify:default"))
    found = list(workloads.token(context(), it))
    assert all(finding.ok for finding in found)
    calls = cast("FakeKubectl", it.kubectl)
    assert "hush" not in f"{found} {calls.calls} {calls.stdin}"
    reviewed = next(json.loads(sent.reveal()) for sent in calls.stdin if sent)
    assert reviewed["spec"] == {"token": "eyJ.hush.x"}


def test_a_token_of_someone_else_is_a_failure() -> None:
    found = list(workloads.token(context(), bench(token_answers("system:anonymous"))))
    assert {finding.actual for finding in found} == {"system:anonymous"}


def etcd_with(value: bytes) -> FakeAgent:
    return FakeAgent(lambda _argv: json.dumps({"kvs": [{"value": b64encode(value).decode()}]}))


@pytest.mark.parametrize(
    ("value", "expected", "actual"),
    [
        (b"k8s:enc:aescbc:v1:key1:\x00\xff\x10", True, "k8s:enc:aescbc:v1:key1"),
        (b"k8s:enc:secretbox:v1:key1:\x00\xff", False, "k8s:enc:secretbox:v1:key1"),
        (b"k8s\x00\n\x0c\n\x02v1\x12\x06Secret mydata", False, "in the clear"),
    ],
)
def test_a_secret_is_judged_as_etcd_keeps_it(value: bytes, expected: bool, actual: str) -> None:
    it = context(agents={"controller-1": etcd_with(value)})
    *_, finding = encryption.at_rest(it, bench(lambda _arguments: ""))
    assert (finding.ok, finding.actual) == (expected, actual)


def test_a_secret_that_etcd_does_not_have_is_a_failure() -> None:
    agent = FakeAgent(lambda argv: Completed(argv, 0, "{}", ""))
    *_, finding = encryption.at_rest(context(agents={"controller-0": agent}), bench(lambda _arguments: ""))
    assert finding.actual == "etcd has no /registry/secrets/khw-verify/kubernetes-the-hard-way"


def test_an_api_server_that_cannot_read_what_others_wrote_is_named() -> None:
    def agent(code: int, out: str, err: str) -> FakeAgent:
        return FakeAgent(lambda argv: Completed(argv, code, out, err) if "secrets" in argv else "{}")

    said = "Error from server (InternalError): Internal error occurred: unable to transform key: no matching key"
    agents = {
        "controller-0": agent(0, "secret/a\nsecret/b\n", ""),
        "controller-1": agent(1, "", said),
        "controller-2": agent(1, "", "The connection to the server 127.0.0.1:6443 was refused"),
    }
    *found, _ = encryption.at_rest(context(agents=agents), bench(lambda _arguments: ""))
    assert {f.node: f.ok for f in found} == {"controller-0": True, "controller-1": False, "controller-2": None}
    assert "no matching key" in found[1].actual


def test_the_api_servers_right_to_kubelets_is_asked_for() -> None:
    for allowed in (True, False):
        it = context(lambda _arguments, allowed=allowed: {"status": {"allowed": allowed}})
        (finding,) = access.kubelets(it)
        assert finding.ok is allowed


def hook(policy: str = "Fail", **client: Any) -> dict[str, Any]:
    rules = [{"operations": ["CREATE"], "resources": ["pods"]}]
    return {"name": "policy.example.com", "failurePolicy": policy, "clientConfig": client, "rules": rules}


@pytest.mark.parametrize(
    ("webhook", "ready", "well"),
    [
        (hook(service={"namespace": "policy", "name": "it"}), False, False),
        (hook(service={"namespace": "policy", "name": "it"}), True, True),
        (hook("Ignore", service={"namespace": "policy", "name": "it"}), False, True),
        (hook(url="https://policy.example.com"), False, True),  # outside: not for us to judge
    ],
)
def test_a_webhook_that_refuses_what_nobody_looks_at_is_named(webhook: Any, ready: bool, well: bool) -> None:
    def answer(arguments: tuple[str, ...]) -> Any:
        if "endpointslices" in arguments:
            return {"items": [{"endpoints": [{"conditions": {"ready": ready}}]}]}
        return {"items": [{"metadata": {"name": "policy"}, "webhooks": [webhook]}]}

    (finding,) = access.admission(context(answer))
    assert finding.ok is well
    if not well:
        assert "CREATE pods" in finding.actual


def test_another_domain_in_the_corefile_is_shown() -> None:
    text = corefile(CLUSTER)
    (good,) = dns.corefile_of(context(lambda _arguments: {"data": {"Corefile": text}}))
    changed = text.replace("cluster.local", "cluster.internal")
    (bad,) = dns.corefile_of(context(lambda _arguments: {"data": {"Corefile": changed}}))
    assert good.ok
    assert not bad.ok
    assert "cluster.internal" in bad.evidence


def test_without_a_controller_in_reach_nothing_is_read() -> None:
    (finding,) = encryption.at_rest(context(), bench(lambda _arguments: ""))
    assert finding.actual == "no member of etcd answers over SSH"


def test_a_pod_that_exec_does_not_get_through_to_is_not_waited_for_again_in_the_same_round() -> None:
    asked: list[tuple[str, ...]] = []

    def answer(arguments: tuple[str, ...]) -> str:
        asked.append(arguments)
        if arguments[0] == "exec" and "echo-worker-1" in arguments:
            raise KubectlTimeoutError("kubectl exec did not end within 20 s")
        return "Starting netexec"

    pods = bench(answer)
    for check in (workloads.execute, workloads.logs, network.pod_to_pod):
        found = [row for row in check(context(), pods) if row.node == "worker-1"]
        assert {(row.ok, "did not end" in row.actual) for row in found} == {(False, True)}, check
    assert sum("echo-worker-1" in arguments for arguments in asked) == 1
