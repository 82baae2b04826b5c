"""Failed checks are grouped under what is behind them: on results as `khw verify` gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes import cluster

from khw.checks import CheckResult, Status
from khw.verify.causes import TITLES, accused, diagnose
from khw.verify.check import Finding
from khw.verify.rounds import explained

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.verify.causes import Cause

CLUSTER = cluster()
ETCD_GONE = ("unit", "etcd.service")


def failed(check: str, node: str = "", subject: str = "", evidence: str = "") -> CheckResult:
    finding = Finding(ok=False, expected="well", actual="not well", evidence=evidence, hint="mend it")
    name = f"{check} {subject}".rstrip()
    bare = CheckResult(
        name=name, check=check, subject=subject, node=node, status=Status.FAILED, expected="well", actual="not well"
    )
    return explained(bare, finding)


def causes(*results: CheckResult) -> list[Cause]:
    return diagnose(results, CLUSTER)


def ids(found: Iterable[Cause]) -> list[tuple[str, tuple[str, ...]]]:
    return [(cause.id, cause.nodes) for cause in found]


def everything_through_the_api() -> list[CheckResult]:
    return [
        failed("load balancer", subject="livez"),
        failed("load balancer", subject="readyz"),
        *(failed("API server", node.name, "readyz") for node in CLUSTER.controllers),
        failed("test pods"),
    ]


def test_nothing_failed_has_no_cause() -> None:
    passed = CheckResult(name="unit", check="unit", node="worker-0", status=Status.PASSED, expected="", actual="")
    assert causes(passed) == []


def test_one_dead_etcd_member_is_one_cause_with_all_that_it_explains() -> None:
    (cause,) = causes(
        failed("unit", "controller-1", "etcd.service", evidence="panic: out of space"),
        failed("etcd", "controller-1"),
        failed("etcd", "controller-1", "members"),
        failed("etcd", "controller-1", "alarms"),
        failed("etcd", "controller-1", "mutual TLS"),
        failed("component status", subject="etcd-0"),
    )
    assert (cause.id, cause.nodes) == ("unit:etcd.service", ("controller-1",))
    assert len(cause.checks) == 1
    assert len(cause.symptoms) == 5
    assert cause.title == "etcd.service does not run on controller-1"
    assert cause.first.evidence == "panic: out of space"
    assert cause.first.command == "khw ssh controller-1 sudo systemctl status etcd.service"


def test_one_dead_etcd_member_does_not_explain_an_api_that_is_away() -> None:
    found = causes(failed("unit", "controller-1", "etcd.service"), failed("load balancer", subject="readyz"))
    assert ids(found) == [("unit:etcd.service", ("controller-1",)), ("load-balancer", ("",))]


def test_two_lost_members_of_three_explain_an_api_that_is_away() -> None:
    lost = [failed("unit", name, "etcd.service") for name in ("controller-1", "controller-2")]
    alone = failed("etcd", "controller-0", "leader")
    (cause,) = causes(*lost, alone, *everything_through_the_api())
    assert (cause.id, cause.nodes) == ("unit:etcd.service", ("controller-1", "controller-2"))
    assert alone in cause.symptoms
    assert len(cause.symptoms) == 7


def test_machines_that_do_not_answer_explain_what_they_carried() -> None:
    gone = [failed("reachable", name) for name in ("controller-1", "controller-2")]
    (cause,) = causes(*gone, failed("etcd", "controller-0", "leader"), *everything_through_the_api())
    assert (cause.id, cause.nodes) == ("machine", ("controller-1", "controller-2"))


def test_a_machine_that_is_off_explains_that_the_nodes_rule_still_has_its_address() -> None:
    off, rule = failed("reachable", "controller-2"), failed("cloud", subject="firewall:k-allow-nodes")
    (cause,) = causes(off, rule)
    assert (cause.id, cause.symptoms) == ("machine", (rule,))
    (cause,) = causes(rule)
    assert cause.id == "cloud:firewall:k-allow-nodes"


def test_an_api_server_that_does_not_run_is_not_behind_the_service_because_of_that() -> None:
    missed = failed("API server behind the Service", "controller-2")
    (cause,) = causes(failed("unit", "controller-2", "kube-apiserver.service"), missed)
    assert (cause.id, cause.symptoms) == ("unit:kube-apiserver.service", (missed,))


def test_machines_that_do_not_get_through_to_each_other_explain_etcd_and_nodeports() -> None:
    rule = "firewall:kubernetes-the-hard-way-allow-internal"
    (cause,) = causes(
        failed("cloud", subject=rule),
        failed("etcd", "controller-0"),
        failed("component status", subject="etcd-1"),
        failed("NodePort", "worker-0"),
    )
    assert (cause.id, len(cause.symptoms)) == (f"cloud:{rule}", 3)


def test_a_file_that_a_unit_reads_explains_the_unit() -> None:
    pem = "/var/lib/kubelet/worker-1.pem"
    (cause,) = causes(
        failed("certificates", "worker-1", pem),
        failed("unit", "worker-1", "kubelet.service"),
        failed("node", "worker-1"),
        failed("test pod", "worker-1"),
        failed("logs", "worker-1"),
    )
    assert (cause.id, cause.nodes) == (f"file:{pem}", ("worker-1",))
    assert pem in cause.first.command


def test_a_file_of_another_node_explains_nothing_here() -> None:
    found = causes(
        failed("certificates", "worker-0", "/var/lib/kubelet/worker-0.pem"),
        failed("unit", "worker-1", "kubelet.service"),
    )
    assert [cause.kind for cause in found] == ["file", "unit"]


def test_a_stopped_containerd_explains_kubelet_node_and_pod() -> None:
    (cause,) = causes(
        failed("unit", "worker-0", "containerd.service"),
        failed("unit", "worker-0", "kubelet.service"),
        failed("CRI", "worker-0", "containerd"),
        failed("CRI", "worker-0", "images"),
        failed("node", "worker-0"),
        failed("test pod", "worker-0"),
        failed("CoreDNS", subject="replicas"),
    )
    assert (cause.id, cause.nodes) == ("unit:containerd.service", ("worker-0",))


def test_a_lost_route_explains_pods_that_do_not_reach_each_other_and_dns() -> None:
    (cause,) = causes(
        failed("route", "worker-2"),
        failed("pod to pod", "worker-0", "to worker-2"),
        failed("pod to pod", "worker-2", "to worker-0"),
        failed("DNS", "worker-1", "kubernetes.default"),
    )
    assert (cause.id, cause.nodes) == ("route", ("worker-2",))
    assert len(cause.symptoms) == 3


def test_a_firewall_rule_that_is_gone_explains_etcd_members_apart_from_each_other() -> None:
    rule = "firewall:kubernetes-the-hard-way-allow-internal"
    leaders = [failed("etcd", node.name, "leader") for node in CLUSTER.controllers]
    (cause,) = causes(failed("cloud", subject=rule), *leaders, *everything_through_the_api())
    assert cause.id == f"cloud:{rule}"


def test_a_closed_nodeport_rule_does_not_explain_the_api() -> None:
    rule = "firewall:kubernetes-the-hard-way-allow-nodeports"
    found = causes(
        failed("cloud", subject=rule), failed("load balancer", subject="livez"), failed("NodePort", "worker-0")
    )
    assert [cause.kind for cause in found] == ["cloud", "load-balancer"]
    assert [check.check for check in found[0].symptoms] == ["NodePort"]


def test_a_bastion_that_is_gone_explains_that_no_private_node_answers() -> None:
    bastion = "instance:kubernetes-the-hard-way-bastion"
    (cause,) = causes(failed("cloud", subject=bastion), *(failed("reachable", node.name) for node in CLUSTER.nodes))
    assert (cause.id, len(cause.symptoms)) == (f"cloud:{bastion}", len(CLUSTER.nodes))


def test_a_router_that_is_gone_explains_a_private_node_that_is_not_ready_and_not_the_api() -> None:
    router = "router:kubernetes-the-hard-way-router"
    found = causes(
        failed("cloud", subject=router), failed("node", "worker-0"), failed("load balancer", subject="livez")
    )
    assert {cause.id: [check.check for check in cause.symptoms] for cause in found if cause.kind == "cloud"} == {
        f"cloud:{router}": ["node"]
    }


def test_a_wrong_cluster_dns_explains_dns_on_that_worker() -> None:
    config = "/var/lib/kubelet/kubelet-config.yaml"
    (cause,) = causes(failed("file", "worker-1", config), failed("DNS", "worker-1", "kubernetes.default"))
    assert (cause.id, cause.nodes) == (f"file:{config}", ("worker-1",))


def test_an_alarm_explains_that_nothing_can_be_written() -> None:
    alarms = [failed("etcd", node.name, "alarms") for node in CLUSTER.controllers]
    (cause,) = causes(*alarms, failed("test pods"), failed("encryption at rest"))
    assert cause.id == "etcd-alarm"
    assert len(cause.nodes) == 3


def test_a_full_disk_explains_the_unit_that_died_of_it() -> None:
    (cause,) = causes(
        failed("disk", "controller-0", "/var/lib/etcd"),
        failed("unit", "controller-0", "etcd.service"),
        failed("etcd", "controller-0"),
    )
    assert (cause.id, cause.nodes) == ("disk:/var/lib/etcd", ("controller-0",))


def test_a_certificate_explains_the_connections_that_it_breaks_at_both_ends() -> None:
    pem = "/var/lib/kubelet/worker-1.pem"
    edges = [failed("TLS", node.name, "kube-apiserver to kubelet at worker-1:10250") for node in CLUSTER.controllers]
    own = failed("TLS", "worker-1", "kubelet to kube-apiserver at the API's address:6443")
    found = causes(failed("certificates", "worker-1", pem), *edges)
    assert ids(found) == [(f"file:{pem}", ("worker-1",))]
    (cause,) = causes(failed("certificates", "worker-1", "/var/lib/kubelet/kubeconfig"), own)
    assert cause.symptoms == (own,)


def test_a_pair_that_was_replaced_is_one_cause() -> None:
    stem = "/var/lib/kubelet/worker-1"
    key = failed("file", "worker-1", f"{stem}-key.pem")
    (cause,) = causes(failed("certificates", "worker-1", f"{stem}.pem"), key)
    assert (cause.id, cause.symptoms) == (f"file:{stem}.pem", (key,))
    assert ids(causes(key)) == [(f"file:{stem}-key.pem", ("worker-1",))]


def test_a_kubelet_that_cannot_ask_the_api_lets_nobody_in_because_of_that() -> None:
    edges = [failed("TLS", node.name, "kube-apiserver to kubelet at worker-1:10250") for node in CLUSTER.controllers]
    rule = "forwarding-rule:kubernetes-the-hard-way-api"
    away = [failed("cloud", subject=rule), failed("load balancer", subject="readyz")]
    assert ids(causes(*away, *edges)) == [(f"cloud:{rule}", ("",))]
    assert ids(causes(failed("RBAC", subject="user kubernetes"), *edges)) == [("rbac", ("",))]


def test_a_dead_member_explains_the_connections_to_it_and_no_others() -> None:
    to_it = failed("TLS", "controller-0", "kube-apiserver to etcd at controller-1:2379")
    other = failed("TLS", "controller-0", "kube-apiserver to etcd at controller-2:2379")
    dead, strange = causes(failed("unit", "controller-1", "etcd.service"), to_it, other)
    assert dead.symptoms == (to_it,)
    assert (strange.id, strange.nodes) == ("tls:kube-apiserver to etcd at controller-2:2379", ("controller-0",))


def test_two_failures_that_have_nothing_to_do_with_each_other_are_two_causes() -> None:
    found = causes(failed("unit", "worker-0", "kube-proxy.service"), failed("swap", "worker-1"))
    assert ids(found) == [("unit:kube-proxy.service", ("worker-0",)), ("swap", ("worker-1",))]


def test_each_failed_check_is_in_exactly_one_cause() -> None:
    results = [
        failed("unit", "controller-1", "etcd.service"),
        failed("unit", "controller-2", "etcd.service"),
        failed("unit", "worker-0", "containerd.service"),
        failed("route", "worker-2"),
        failed("node", "worker-0"),
        failed("DNS", "worker-1"),
        *everything_through_the_api(),
    ]
    told = [check for cause in causes(*results) for check in (*cause.checks, *cause.symptoms)]
    assert len(told) == len(results)
    assert all(told.count(result) == results.count(result) for result in results)


def test_the_json_form_names_cause_evidence_and_command() -> None:
    (cause,) = causes(
        failed("unit", "worker-0", "kubelet.service", evidence="no such file"), failed("node", "worker-0")
    )
    row = cause.as_dict()
    assert row["id"] == "unit:kubelet.service"
    assert row["nodes"] == ["worker-0"]
    assert row["evidence"] == "no such file"
    assert row["command"] == "khw ssh worker-0 sudo systemctl status kubelet.service"
    assert row["checks"] == [{"name": "unit kubelet.service", "node": "worker-0"}]
    assert row["symptoms"] == [{"name": "node", "node": "worker-0"}]


def test_every_check_of_the_table_accuses_something_that_has_a_title_or_speaks_for_itself() -> None:
    from khw.verify.table import CHECKS

    kinds = {accused(failed(check.name)).kind for check in CHECKS}
    assert kinds - {"check"} <= set(TITLES)


# What the drills break (khw.drills), as verify meets it


def test_the_member_that_no_majority_is_left_for_is_a_symptom() -> None:
    lost = [failed("unit", name, "etcd.service") for name in ("controller-1", "controller-2")]
    (cause,) = causes(*lost, failed("etcd", "controller-0"), failed("etcd", "controller-0", "leader"))
    assert (cause.id, cause.nodes) == ("unit:etcd.service", ("controller-1", "controller-2"))


def test_rights_that_are_gone_explain_logs_and_exec() -> None:
    workers = [node.name for node in CLUSTER.workers]
    symptoms = [failed(check, name) for check in ("logs", "exec", "port-forward") for name in workers]
    in_pods = [
        failed(check, name) for check in ("pod to pod", "service", "DNS", "service account token") for name in workers
    ]
    assert ids(causes(failed("RBAC", subject="user kubernetes"), *symptoms, *in_pods)) == [("rbac", ("",))]


def test_pods_in_which_nothing_can_be_run_say_nothing_of_their_network() -> None:
    found = causes(failed("exec", "worker-0"), failed("pod to pod", "worker-0"), failed("pod to pod", "worker-1"))
    assert ids(found) == [("api-to-kubelet", ("worker-0",)), ("pods-network", ("worker-1",))]


def test_what_a_kubelet_shows_explains_its_logs_and_not_those_of_others() -> None:
    pem = "/var/lib/kubelet/worker-1.pem"
    broken = failed("certificates", "worker-1", pem)
    assert ids(causes(broken, failed("logs", "worker-1"))) == [(f"file:{pem}", ("worker-1",))]
    found = causes(broken, failed("logs", "worker-0"))
    assert {cause.kind for cause in found} == {"file", "api-to-kubelet"}


def test_a_webhook_that_nobody_answers_explains_pods_that_are_not_made() -> None:
    hook = failed("admission", subject="policy.example.com")
    found = causes(hook, failed("test pod", "worker-0"), failed("deployment"))
    assert ids(found) == [("admission:policy.example.com", ("",))]
    assert found[0].title == "nobody answers the webhook policy.example.com"


def test_what_could_not_be_looked_at_through_the_api_is_a_symptom() -> None:
    """One API server of three shows an expired certificate: whatever comes to it fails, now and then."""
    pem = "/var/lib/kubernetes/kubernetes.pem"
    asked = [failed("admission"), failed("RBAC"), failed("node"), failed("lease"), failed("CoreDNS")]
    assert ids(causes(failed("certificates", "controller-0", pem), *asked)) == [(f"file:{pem}", ("controller-0",))]


def test_a_node_that_forwards_nothing_explains_pods_that_do_not_reach_each_other() -> None:
    pairs = [failed("pod to pod", "worker-0", "to worker-1"), failed("pod to pod", "worker-1", "to worker-0")]
    found = causes(failed("forwarding", "worker-0"), *pairs, failed("service", "worker-1", "echo"))
    assert ids(found) == [("forwarding", ("worker-0",))]


def test_a_certificate_without_the_load_balancers_name_explains_an_api_that_is_away() -> None:
    pem = "/var/lib/kubernetes/kubernetes.pem"
    names = [failed("API server names", node.name) for node in CLUSTER.controllers]
    files = [failed("certificates", node.name, pem) for node in CLUSTER.controllers]
    found = causes(*files, *names, *everything_through_the_api()[:2], failed("node", "worker-0"))
    assert [cause.id for cause in found] == [f"file:{pem}"]
