"""The judges of what nodes say, on what real nodes said."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from fakes import FakeKubectl, cluster

from khw.certs.pki import Pki, load_or_issue
from khw.converge.resources import File
from khw.secret import Secret
from khw.ssh.client import Completed
from khw.verify import (
    Context,
    api_server,
    certificates,
    clock,
    controllers,
    disk,
    etcd,
    exposure,
    files,
    forwarding,
    nodes,
    units,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.inventory.provider import Provider
    from khw.kubectl import Kubectl
    from khw.verify.check import Finding

CLUSTER = cluster()
CONTROLLER = CLUSTER.node("controller-0")
WORKER = CLUSTER.node("worker-1")

SHOWN = """\
Result=success
NRestarts=0
Id=containerd.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled

Result=success
NRestarts=0
Id=kubelet.service
LoadState=loaded
ActiveState=inactive
SubState=dead
UnitFileState=enabled

Result=success
NRestarts=0
Id=kube-proxy.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
"""
CTR_VERSION = """\
Client:
  Version:  v2.3.6
  Revision:
  Go version: go1.26.8

Server:
  Version:  v2.3.7
  Revision:
  UUID: b168c47d-b268-4ce9-8a9a-72d1a710e8f3
"""
CTR_PLUGINS = """\
TYPE                                      ID                       PLATFORMS      STATUS
io.containerd.content.v1                  content                  -              ok
io.containerd.cri.v1                      images                   -              ok
io.containerd.cri.v1                      runtime                  linux/amd64    ok
io.containerd.grpc.v1                     cri                      -              ok
"""
ETCD_STATUS = (
    '[{"Endpoint":"https://10.240.0.10:2379","Status":{"header":{"cluster_id":58327941264937714,'
    '"member_id":17982242243123226016,"revision":3489,"raft_term":2},"version":"3.6.16","dbSize":2920448,'
    '"leader":17982242243123226016,"raftIndex":4082,"raftTerm":2,"raftAppliedIndex":4082,"dbSizeInUse":1363968,'
    '"storageVersion":"3.6.0","dbSizeQuota":2147483648,"downgradeInfo":{}}}]'
)
ETCD_REFUSED = (
    '{"level":"warn","ts":"2026-11-23T13:09:01.447337Z","logger":"etcd-client","caller":"v3/retry_interceptor.go:68",'
    '"msg":"retrying of unary invoker failed","error":"rpc error: code = DeadlineExceeded desc = latest balancer '
    'error: connection error: desc = \\"error reading server preface: remote error: tls: certificate required\\""}\n'
    "Error: context deadline exceeded\n"
)
ETCD_BROKEN_PIPE = ETCD_REFUSED.replace(
    "error reading server preface: remote error: tls: certificate required",
    "write tcp 10.240.0.10:36506->10.240.0.10:2379: write: broken pipe",
)
ETCD_DOWN = ETCD_REFUSED.replace(
    "error reading server preface: remote error: tls: certificate required",
    "transport: Error while dialing: dial tcp 127.0.0.1:2379: connect: connection refused",
)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return load_or_issue(tmp_path_factory.mktemp("pki"), CLUSTER)


@pytest.fixture
def context(pki: Pki) -> Context:
    kubectl = FakeKubectl(lambda _arguments: "")
    return Context(
        cluster=CLUSTER,
        pki=pki,
        agents={},
        provider=cast("Provider", None),
        kubectl=cast("Kubectl", kubectl),
    )


def said(out: str = "", err: str = "", code: int = 0) -> Completed:
    return Completed((), code, out, err)


def by_subject(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def unit_answers(context: Context, shown: str = SHOWN) -> list[Completed]:
    return [said(shown), *(said(f"Stopped {unit.name}.") for unit in units.units(WORKER, context))]


def file_answer(texts: dict[str, str]) -> list[Completed]:
    return [said("".join(f"\n{files.MARK}{path}\n{text}" for path, text in texts.items()))]


def test_every_unit_of_a_role_is_asked_for(context: Context) -> None:
    assert [unit.name for unit in units.units(CONTROLLER, context)] == [
        "etcd.service",
        "kube-apiserver.service",
        "kube-controller-manager.service",
        "kube-scheduler.service",
    ]
    assert len(units.ask(CONTROLLER, context)) == 1 + 4


def test_a_stopped_kubelet_is_named_with_what_it_last_said(context: Context) -> None:
    found = by_subject(units.judge(WORKER, context, unit_answers(context)))
    assert found["containerd.service"].ok
    assert not found["kubelet.service"].ok
    assert found["kubelet.service"].actual == "inactive (dead)"
    assert "khw run --limit worker-1" in found["kubelet.service"].hint
    assert found["kubelet.service"].evidence == "Stopped kubelet.service."


def test_files_as_khw_wrote_them_are_one_finding(context: Context) -> None:
    texts = files.wanted(WORKER, context)
    assert {"/etc/systemd/system/kubelet.service", "/etc/cni/net.d/10-bridge.conf"} <= set(texts)
    (finding,) = files.judge(WORKER, context, file_answer(texts))
    assert finding.ok
    assert finding.expected.startswith(f"{len(texts)} files")


def test_no_secret_and_no_certificate_is_among_the_files_that_are_read(context: Context) -> None:
    for node in (CONTROLLER, WORKER):
        assert not [
            path for path in files.wanted(node, context) if path.endswith((".pem", "kubeconfig", "n-config.yaml"))
        ]


def test_a_deleted_unit_file_is_seen_while_its_service_still_runs(context: Context) -> None:
    path = "/etc/systemd/system/kube-proxy.service"
    texts = {name: text for name, text in files.wanted(WORKER, context).items() if name != path}
    (finding,) = files.judge(WORKER, context, file_answer(texts))
    assert (finding.subject, finding.actual) == (path, f"{path} is missing")


def test_a_changed_file_shows_its_lines(context: Context) -> None:
    path = "/var/lib/kubelet/kubelet-config.yaml"
    texts = files.wanted(WORKER, context)
    texts[path] = texts[path].replace("- 10.32.0.10", "- 10.32.0.99")
    (finding,) = files.judge(WORKER, context, file_answer(texts))
    assert finding.subject == path
    assert finding.evidence == "-  - 10.32.0.99\n+  - 10.32.0.10"


def test_a_file_that_is_cut_off_hides_no_other(context: Context) -> None:
    texts = files.wanted(WORKER, context)
    path = "/etc/cni/net.d/10-bridge.conf"
    texts[path] = texts[path][:100]
    (finding,) = files.judge(WORKER, context, file_answer(texts))
    assert (finding.subject, finding.actual) == (path, f"{path} was changed")


DF = """\
/var/lib/containerd /dev/sda1 205374464 20000000 {free} 10% / /dev/sda1 13000000 100000 {inodes} 1% /
/var/lib/kubelet /dev/sda1 205374464 20000000 {free} 10% / /dev/sda1 13000000 100000 {inodes} 1% /
/var/log
/run tmpfs 800000 1000 799000 1% /run tmpfs 100000 500 99500 1% /run
"""


@pytest.mark.parametrize(
    ("free", "inodes", "problem"),
    [
        (185374464, 12900000, ""),
        (30 << 10, 12900000, "30 MiB of 200561 MiB free on /"),
        (185374464, 12, "12 of 13000000 inodes free on /"),
    ],
)
def test_a_full_disk_is_named_with_what_is_left(context: Context, free: int, inodes: int, problem: str) -> None:
    found = list(disk.judge(WORKER, context, [said(DF.format(free=free, inodes=inodes))]))
    assert [finding.ok for finding in found] == ([False, False] if problem else [True])
    if problem:
        assert found[0].subject == "/var/lib/containerd"
        assert found[0].actual == problem


def test_a_disabled_unit_is_not_well(context: Context) -> None:
    answers = unit_answers(context, SHOWN.replace("UnitFileState=enabled", "UnitFileState=disabled"))
    assert by_subject(units.judge(WORKER, context, answers))["containerd.service"].actual == "disabled"


def test_an_etcd_member_that_answers_is_well(context: Context) -> None:
    members = json.dumps({"members": [{"name": node.name} for node in CLUSTER.controllers]})
    found = by_subject(etcd.judge_member(CONTROLLER, context, [said(ETCD_STATUS), said(members)]))
    assert found[""].ok
    assert found["members"].ok


def test_an_alarm_is_not_a_fault_of_the_member_that_reports_it(context: Context) -> None:
    row = json.loads(ETCD_STATUS)
    members = json.dumps({"members": [{"name": node.name} for node in CLUSTER.controllers]})
    for errors, well in ((["memberID:1 alarm:NOSPACE "], True), (["etcdserver: no leader"], False)):
        row[0]["Status"]["errors"] = errors
        found = by_subject(etcd.judge_member(CONTROLLER, context, [said(json.dumps(row)), said(members)]))
        assert found[""].ok is well


def test_a_member_that_never_joined_is_named(context: Context) -> None:
    members = json.dumps({"members": [{"name": "controller-0"}, {"peerURLs": ["https://10.240.0.11:2380"]}]})
    found = by_subject(etcd.judge_member(CONTROLLER, context, [said(ETCD_STATUS), said(members)]))
    assert "https://10.240.0.11:2380 (not started)" in found["members"].actual


def test_a_dead_etcd_gives_its_cause_and_not_a_line_of_json(context: Context) -> None:
    (finding,) = etcd.judge_member(CONTROLLER, context, [said("null", ETCD_DOWN, 1), said("", ETCD_DOWN, 1)])
    assert not finding.ok
    assert finding.actual.endswith("dial tcp 127.0.0.1:2379: connect: connection refused")


def test_members_that_name_different_leaders_are_split(context: Context) -> None:
    row = json.loads(ETCD_STATUS)[0]
    other = json.loads(json.dumps(row))
    other["Status"]["leader"] = 7
    found = by_subject(etcd.judge_leader(CONTROLLER, context, [said(json.dumps([row, other])), said()]))
    assert found["leader"].actual == "2 different leaders, 2 of 3 members answer"
    assert found["alarms"].ok


def test_no_leader_and_an_alarm_are_failures(context: Context) -> None:
    row = json.loads(ETCD_STATUS)
    row[0]["Status"]["leader"] = 0
    answers = [said(json.dumps(row)), said("memberID:1 alarm:NOSPACE")]
    found = by_subject(etcd.judge_leader(CONTROLLER, context, answers))
    assert found["leader"].actual.startswith("no leader")
    assert found["alarms"].actual == "memberID:1 alarm:NOSPACE"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (said("", ETCD_REFUSED, 1), True),
        (said("", ETCD_BROKEN_PIPE, 1), True),
        (said("", ETCD_DOWN, 1), False),
        (said("/registry/secrets/x\n"), False),
    ],
)
def test_a_stranger_is_refused_only_by_a_server_that_listens(
    context: Context, answer: Completed, expected: bool
) -> None:
    (finding,) = etcd.judge_stranger(CONTROLLER, context, [answer])
    assert finding.ok is expected


def test_an_api_server_that_is_not_ready_names_the_part(context: Context) -> None:
    live = said("[+]ping ok\nlivez check passed\n")
    not_ready = said("", "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n", 1)
    found = by_subject(api_server.judge(CONTROLLER, context, [live, not_ready]))
    assert found["livez"].ok
    assert found["readyz"].actual == "[-]etcd failed: reason withheld"


def test_a_scheduler_that_does_not_answer_is_named(context: Context) -> None:
    down = said("", "The connection to the server 127.0.0.1:10259 was refused\n", 1)
    found = by_subject(controllers.judge(CONTROLLER, context, [said("ok"), down]))
    assert found["kube-controller-manager"].ok
    assert "refused" in found["kube-scheduler"].actual


def test_the_servers_version_counts_and_not_the_clients() -> None:
    assert nodes.server_version(CTR_VERSION) == "2.3.7"
    assert nodes.server_version("Client:\n  Version: v2.3.7\n") == ""


def test_a_cri_plugin_that_is_not_ok_is_named() -> None:
    assert nodes.broken_plugins(CTR_PLUGINS) == []
    broken = CTR_PLUGINS.replace(
        "cri                      -              ok", "cri                      -          error"
    )
    assert nodes.broken_plugins(broken) == ["io.containerd.grpc.v1 cri - error"]
    assert nodes.broken_plugins("TYPE ID PLATFORMS STATUS\n") == ["no CRI plugin"]


def test_an_image_that_was_never_pushed_is_named(context: Context) -> None:
    answers = [said(CTR_VERSION), said(CTR_PLUGINS), said("registry.k8s.io/pause:3.10.2\n")]
    found = by_subject(nodes.judge_runtime(WORKER, context, answers))
    assert found["containerd"].ok
    assert "coredns" in found["images"].actual
    assert "pause" not in found["images"].actual


SWAPS = "Filename\t\tType\t\tSize\tUsed\tPriority\n"


@pytest.mark.parametrize(
    ("swaps", "target", "container", "expected"),
    [
        (SWAPS, "/dev/null", 1, True),
        (SWAPS, "", 1, False),
        (SWAPS + "/dev/sda2 partition 1 0 -2\n", "/dev/null", 1, False),
        (SWAPS + "/dev/sda2 partition 1 0 -2\n", "/dev/null", 0, None),
    ],
)
def test_swap_is_off_and_stays_off(
    context: Context, swaps: str, target: str, container: int, expected: bool | None
) -> None:
    (finding,) = nodes.judge_swap(WORKER, context, [said(swaps), said(target), said("", "", container)])
    assert finding.ok is expected


def test_a_clock_that_is_ahead_is_named(context: Context) -> None:
    (well,) = clock.judge(WORKER, context, [said(f"{time.time()}")])
    (ahead,) = clock.judge(WORKER, context, [said(f"{time.time() + 7}")])
    assert well.ok
    assert not ahead.ok
    assert ahead.actual.endswith("s ahead")


def contents(file: File) -> bytes:
    value = file.content
    return value.reveal() if isinstance(value, Secret) else value.encode() if isinstance(value, str) else value


def certificate_answers(context: Context, **changed: Any) -> list[Completed]:
    wanted = certificates.files(CONTROLLER, context)
    stats = "".join(f"{file.mode:o} {file.owner} {file.path}\n" for file in wanted)
    sums = "".join(f"{hashlib.sha256(contents(file)).hexdigest()}  {file.path}\n" for file in wanted)
    public = [file for file in wanted if certificates.is_certificate(file)]
    texts = "".join(f"== {file.path}\n{contents(file).decode()}" for file in public)
    answers = {"stats": stats, "sums": sums, "texts": texts, **changed}
    return [said(answers["stats"]), said(answers["sums"]), said(answers["texts"])]


def test_files_as_issued_are_one_finding(context: Context) -> None:
    (finding,) = certificates.judge(CONTROLLER, context, certificate_answers(context))
    assert finding.ok
    assert "the first certificate ends in 36" in finding.actual


def test_no_key_is_ever_read_from_a_node(context: Context) -> None:
    shown = " ".join(certificates.ask(CONTROLLER, context)[2].argv)
    assert "/var/lib/kubernetes/kubernetes.pem" in shown
    assert "-key.pem" not in shown
    assert "kubeconfig" not in shown
    assert "encryption" not in shown


def test_a_key_that_others_can_read_is_named(context: Context) -> None:
    stats = certificate_answers(context)[0].out.replace(
        "600 etcd:etcd /etc/etcd/kubernetes-key.pem", "644 etcd:etcd /etc/etcd/kubernetes-key.pem"
    )
    (finding,) = certificates.judge(CONTROLLER, context, certificate_answers(context, stats=stats))
    assert finding.subject == "/etc/etcd/kubernetes-key.pem"
    assert finding.actual == "mode 0644"


def test_a_missing_certificate_is_named(context: Context) -> None:
    stats = "\n".join(
        line for line in certificate_answers(context)[0].out.splitlines() if not line.endswith("/etc/etcd/ca.pem")
    )
    (finding,) = certificates.judge(CONTROLLER, context, certificate_answers(context, stats=stats))
    assert (finding.subject, finding.actual) == ("/etc/etcd/ca.pem", "missing")


def test_a_certificate_of_another_authority_and_other_names_is_named(
    context: Context, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = load_or_issue(tmp_path_factory.mktemp("other"), cluster(api_address="203.0.113.7"))
    answers = certificate_answers(context)
    texts = certificates.parse_contents(answers[2].out)
    path = "/var/lib/kubernetes/kubernetes.pem"
    texts[path] = stranger.pair("kubernetes").certificate
    shown = "".join(f"== {path}\n{text.decode().strip()}\n" for path, text in texts.items())
    (finding,) = certificates.judge(CONTROLLER, context, certificate_answers(context, texts=shown))
    assert finding.subject == path
    assert "none of our authorities" in finding.actual
    assert "203.0.113.7" in finding.actual


def test_a_node_that_shows_no_file_at_all_is_one_finding(context: Context) -> None:
    answers = [said("", "stat: command not found", 127), said(), said()]
    (finding,) = certificates.judge(CONTROLLER, context, answers)
    assert finding.actual == "stat: command not found"


X509 = "tls: failed to verify certificate: x509: certificate is valid for 10.96.0.1, not 10.32.0.1"


def test_a_certificate_is_asked_for_under_every_name_of_the_api(context: Context) -> None:
    asked = api_server.ask_names(CONTROLLER, context)
    names = [command.argv[-1].partition("=")[2] for command in asked]
    assert names == list(api_server.names(context))
    assert {"10.32.0.1", CLUSTER.api_address, "kubernetes.default.svc"} <= set(names)


def test_a_name_that_the_certificate_lacks_is_shown_and_a_server_that_is_down_is_not_accused(
    context: Context,
) -> None:
    def judged(err: str) -> Finding:
        answers = [Completed((), 1 if err else 0, "ok", err) for _ in api_server.names(context)]
        (finding,) = api_server.judge_names(CONTROLLER, context, answers)
        return finding

    assert judged("").ok
    assert judged("The connection to the server 10.240.0.10:6443 was refused").ok
    bad = judged(f"Unable to connect to the server: {X509}")
    assert not bad.ok
    assert bad.actual == "certificate is valid for 10.96.0.1, not 10.32.0.1"


@pytest.mark.parametrize(
    ("chain", "forward", "seen"),
    [
        ("-P FORWARD ACCEPT\n", "1\n", "they are"),
        ("-P FORWARD DROP\n-A FORWARD -j KUBE-FORWARD\n", "1\n", "the policy of FORWARD is DROP"),
        ("-P FORWARD DROP\n-A FORWARD -s 10.200.0.0/16 -j ACCEPT\n", "1\n", "they are"),
        ("-P FORWARD ACCEPT\n", "0\n", "net.ipv4.ip_forward is 0"),
    ],
)
def test_a_worker_that_forwards_nothing_is_seen(context: Context, chain: str, forward: str, seen: str) -> None:
    answers = [Completed((), 0, chain, ""), Completed((), 0, forward, "")]
    (finding,) = forwarding.judge(WORKER, context, answers)
    assert finding.actual == seen
    assert finding.ok is (seen == "they are")


EXPOSED = """\
→ Overall exposure level for etcd.service: 1.1 OK 🙂
→ Overall exposure level for kube-apiserver.service: 9.6 UNSAFE 😨
→ Overall exposure level for kube-scheduler.service: 1.8 OK 🙂
"""


def test_a_unit_without_its_sandbox_is_named_with_its_figure(context: Context) -> None:
    found = {finding.subject: finding for finding in exposure.judge(CONTROLLER, context, [said(EXPOSED)])}
    assert (found["etcd.service"].ok, found["etcd.service"].actual) == (True, "1.1 OK")
    assert (found["kube-apiserver.service"].ok, found["kube-apiserver.service"].actual) == (False, "9.6 UNSAFE")


def test_a_figure_that_systemd_does_not_give_is_no_failure(context: Context) -> None:
    found = {finding.subject: finding for finding in exposure.judge(CONTROLLER, context, [said(EXPOSED)])}
    assert found["kube-controller-manager.service"].ok is None


def test_every_unit_of_ours_has_a_limit(context: Context) -> None:
    for node in (CONTROLLER, WORKER):
        assert {unit.name for unit in units.units(node, context)} <= set(exposure.LIMITS)
