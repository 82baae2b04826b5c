"""Sections 1 to 4, judged on what khw's own tasks put on a node, and on the same with one thing changed."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import pytest
from fakes import cluster

from khw.certs.pki import load_or_issue
from khw.converge.resources import Directory, File, Unit
from khw.engine.phases import PHASES
from khw.secret import Secret
from khw.ssh.client import Completed
from khw.verify.cis import control_plane, etcd, seen, worker
from khw.verify.cis.seen import AUTHORITIES, ENCRYPTION, TEXTS, UNIT_FILES, Seen

if TYPE_CHECKING:
    from pathlib import Path

    from khw.certs.pki import Pki
    from khw.cluster.model import Node
    from khw.verify.check import Finding
    from khw.verify.cis.control import NodeControl

CLUSTER = cluster()
CONTROLLER = CLUSTER.node("controller-0")
WORKER = CLUSTER.node("worker-1")
MANUAL = {"3.1.1", "3.1.2", "4.2.7"}
"""What a default cluster leaves to a person, each with its reason."""
NOT_APPLICABLE = {"1.1.9", "1.1.10", "1.2.11", "4.2.10", "4.2.11"}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return load_or_issue(tmp_path_factory.mktemp("pki"), CLUSTER)


def text(content: object) -> str:
    plain = content.reveal() if isinstance(content, Secret) else content
    return plain.decode() if isinstance(plain, bytes) else str(plain)


def default(node: Node, pki: Pki) -> Seen:
    """Return what a node says on which nothing but khw's tasks was at work."""
    resources = [
        resource
        for phase in PHASES
        if phase.task and node.roles & phase.roles and not phase.once
        for resource in phase.task(node, CLUSTER, pki)
    ]
    files = {r.path: r for r in resources if isinstance(r, File)}
    units = {r.name.removesuffix(".service"): r for r in resources if isinstance(r, Unit)}
    return Seen(
        arguments={name: seen.flags(seen.command_line(unit.content)) for name, unit in units.items()},
        modes={
            **{r.path: (r.mode, r.owner) for r in resources if isinstance(r, File | Directory)},
            **{f"{UNIT_FILES}/{name}.service": (unit.mode, "root:root") for name, unit in units.items()},
        },
        texts={path: text(files[path].content) for path in TEXTS if path in files},
        providers=("aescbc", "identity") if ENCRYPTION in files else (),
        digests={p: hashlib.sha256(text(files[p].content).encode()).hexdigest() for p in AUTHORITIES if p in files},
    )


def findings(controls: tuple[NodeControl, ...], said: Seen) -> dict[str, Finding]:
    return {control.number: control.finding(said) for control in controls}


def finding(number: str, said: Seen) -> Finding:
    controls = (*control_plane.CONTROLS, *etcd.CONTROLS, *worker.CONTROLS)
    return next(control for control in controls if control.number == number).finding(said)


def test_a_default_controller_fails_nothing(pki: Pki) -> None:
    found = findings((*control_plane.CONTROLS, *etcd.CONTROLS), default(CONTROLLER, pki))
    assert [f"{number} {f.actual}" for number, f in found.items() if f.ok is False] == []
    assert {number for number, f in found.items() if f.manual} == MANUAL & set(found)
    assert {n for n, f in found.items() if f.ok is None and not f.manual} == NOT_APPLICABLE & set(found)


def test_a_default_worker_fails_nothing(pki: Pki) -> None:
    found = findings((*control_plane.NETWORK_FILES, *worker.CONTROLS), default(WORKER, pki))
    assert [f"{number} {f.actual}" for number, f in found.items() if f.ok is False] == []
    assert {number for number, f in found.items() if f.manual} == MANUAL & set(found)
    assert {n for n, f in found.items() if f.ok is None and not f.manual} == {"4.2.10", "4.2.11"}


def test_the_kubelets_files_that_no_task_writes_are_asked_for_too(pki: Pki) -> None:
    assert finding("4.1.1", dataclasses.replace(default(WORKER, pki), modes={})).ok is None


FLAGS = [
    ("1.2.2", "kube-apiserver", {"token-auth-file": "/tokens"}),
    ("1.2.4", "kube-apiserver", {"kubelet-client-key": None}),
    ("1.2.6", "kube-apiserver", {"authorization-mode": "AlwaysAllow"}),
    ("1.2.7", "kube-apiserver", {"authorization-mode": "RBAC"}),
    ("1.2.10", "kube-apiserver", {"enable-admission-plugins": "AlwaysAdmit"}),
    ("1.2.12", "kube-apiserver", {"disable-admission-plugins": "ServiceAccount"}),
    ("1.2.14", "kube-apiserver", {"enable-admission-plugins": "LimitRanger"}),
    ("1.2.15", "kube-apiserver", {"profiling": None}),
    ("1.2.16", "kube-apiserver", {"audit-log-path": None}),
    ("1.2.17", "kube-apiserver", {"audit-log-maxage": "29"}),
    ("1.2.18", "kube-apiserver", {"audit-log-maxbackup": None}),
    ("1.2.21", "kube-apiserver", {"service-account-lookup": "false"}),
    ("1.2.30", "kube-apiserver", {"service-account-extend-token-expiration": None}),
    ("1.3.2", "kube-controller-manager", {"profiling": "true"}),
    ("1.3.3", "kube-controller-manager", {"use-service-account-credentials": None}),
    ("1.3.6", "kube-controller-manager", {"feature-gates": "RotateKubeletServerCertificate=false"}),
    ("1.3.7", "kube-controller-manager", {"bind-address": "0.0.0.0"}),  # noqa: S104 - what is refused
    ("1.4.2", "kube-scheduler", {"bind-address": None}),
    ("2.1", "etcd", {"key-file": None}),
    ("2.2", "etcd", {"client-cert-auth": "false"}),
    ("2.3", "etcd", {"auto-tls": "true"}),
    ("2.5", "etcd", {"peer-client-cert-auth": None}),
]


@pytest.mark.parametrize(("number", "unit", "changed"), FLAGS, ids=[row[0] for row in FLAGS])
def test_a_flag_that_is_not_as_recommended_fails(
    pki: Pki, number: str, unit: str, changed: dict[str, str | None]
) -> None:
    said = default(CONTROLLER, pki)
    flags = {k: v for k, v in {**said.arguments[unit], **changed}.items() if v is not None}
    assert finding(number, dataclasses.replace(said, arguments={**said.arguments, unit: flags})).ok is False


MODES = [
    ("1.1.1", f"{UNIT_FILES}/kube-apiserver.service", (0o644, "root:root")),
    ("1.1.2", f"{UNIT_FILES}/kube-apiserver.service", (0o600, "me:me")),
    ("1.1.11", "/var/lib/etcd", (0o755, "etcd:etcd")),
    ("1.1.12", "/var/lib/etcd", (0o700, "root:root")),
    ("1.1.13", "/var/lib/kubernetes/admin.kubeconfig", (0o640, "root:root")),
    ("1.1.19", "/var/lib/kubernetes/ca.pem", (0o644, "me:root")),
]


@pytest.mark.parametrize(("number", "path", "rights"), MODES, ids=[row[0] for row in MODES])
def test_a_file_that_others_may_touch_fails_by_its_path(
    pki: Pki, number: str, path: str, rights: tuple[int, str]
) -> None:
    said = default(CONTROLLER, pki)
    found = finding(number, dataclasses.replace(said, modes={**said.modes, path: rights}))
    assert found.ok is False
    assert path in found.actual


FIELDS = [
    ("4.2.1", "    enabled: false", "    enabled: true"),
    ("4.2.2", "mode: Webhook", "mode: AlwaysAllow"),
    ("4.2.3", "clientCAFile", "other"),
    ("4.2.6", "registerNode", "makeIPTablesUtilChains: false\nregisterNode"),
    ("4.2.10", "registerNode", "rotateCertificates: false\nregisterNode"),
]


@pytest.mark.parametrize(("number", "before", "after"), FIELDS, ids=[row[0] for row in FIELDS])
def test_a_field_of_the_kubelets_that_is_not_as_recommended_fails(
    pki: Pki, number: str, before: str, after: str
) -> None:
    said = default(WORKER, pki)
    path = worker.CONFIG
    changed = {**said.texts, path: said.texts[path].replace(before, after)}
    assert finding(number, dataclasses.replace(said, texts=changed)).ok is False


MANUAL_FIELDS = [
    ("4.2.4", "registerNode", "readOnlyPort: 10255\nregisterNode"),
    ("4.2.5", "registerNode", "streamingConnectionIdleTimeout: 0s\nregisterNode"),
    ("4.2.9", "tlsCertFile", "other"),
    ("4.2.12", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA"),
    ("4.2.13", "podPidsLimit: 4096", "podPidsLimit: -1"),
    ("4.2.14", "seccompDefault: true", "seccompDefault: false"),
]


@pytest.mark.parametrize(("number", "before", "after"), MANUAL_FIELDS, ids=[row[0] for row in MANUAL_FIELDS])
def test_what_the_benchmark_leaves_to_a_person_is_told_as_not_met_and_no_failure(
    pki: Pki, number: str, before: str, after: str
) -> None:
    said = default(WORKER, pki)
    path = worker.CONFIG
    changed = {**said.texts, path: said.texts[path].replace(before, after)}
    found = finding(number, dataclasses.replace(said, texts=changed))
    assert (found.ok, found.manual) == (None, True)
    assert found.actual.startswith("not met: ")


def with_text(said: Seen, path: str, before: str, after: str) -> Seen:
    assert before in said.texts[path]
    return dataclasses.replace(said, texts={**said.texts, path: said.texts[path].replace(before, after)})


def test_anonymous_requests_beyond_health_are_not_met(pki: Pki) -> None:
    said = default(CONTROLLER, pki)
    assert finding("1.2.1", said).ok is True
    assert finding("1.2.1", with_text(said, control_plane.control_plane.AUTHENTICATION, "/livez", "/api")).manual


def test_an_audit_policy_that_leaves_secrets_out_or_records_them_is_not_met(pki: Pki) -> None:
    said, path = default(CONTROLLER, pki), control_plane.control_plane.AUDIT_POLICY
    assert finding("3.2.2", said).ok is True
    out = "rules:\n  - level: None\n    resources:\n      - group: ''\n        resources: [secrets]\n"
    assert "not logged: get secrets" in finding("3.2.2", with_text(said, path, "rules:\n", out)).actual
    bodies = out.replace("None", "RequestResponse")
    assert "bodies logged: secrets" in finding("3.2.2", with_text(said, path, "rules:\n", bodies)).actual


def test_one_authority_for_both_is_not_met(pki: Pki) -> None:
    said = default(CONTROLLER, pki)
    assert finding("2.7", dataclasses.replace(said, digests=dict.fromkeys(AUTHORITIES, "same"))).manual


def test_kube_proxys_metrics_for_everybody_fail(pki: Pki) -> None:
    said = default(WORKER, pki)
    path = worker.kube_proxy.CONFIG
    open_ = with_text(said, path, "mode:", "metricsBindAddress: 0.0.0.0:10249\nmode:")
    assert finding("4.3.1", open_).ok is False


def test_what_a_node_says_is_read(tmp_path: Path) -> None:
    answers = (
        "== etcd\n/usr/local/bin/etcd\n--name=controller-0\n--client-cert-auth\n== kube-scheduler\nx\n--v=2\n",
        "600 root:root /etc/systemd/system/etcd.service\n700 etcd:etcd /var/lib/etcd\n",
        f"== {worker.CONFIG}\nkind: KubeletConfiguration\n",
        "aescbc\nidentity\n",
        f"abc  {AUTHORITIES[0]}\n",
    )
    said = seen.parse([Completed(argv=(), code=0, out=out, err="") for out in answers])
    assert said.arguments == {
        "etcd": {"name": "controller-0", "client-cert-auth": "true"},
        "kube-scheduler": {"v": "2"},
    }
    assert said.modes["/var/lib/etcd"] == (0o700, "etcd:etcd")
    assert said.document(worker.CONFIG) == {"kind": "KubeletConfiguration"}
    assert said.providers == ("aescbc", "identity")
    assert said.digests == {AUTHORITIES[0]: "abc"}


def test_no_key_and_no_secret_is_read() -> None:
    script = " ".join(word for command in seen.ask() for word in command.argv)
    assert "cat " in script
    for path in TEXTS:
        assert not path.endswith((".pem", "kubeconfig", "encryption-config.yaml"))
    assert f"grep -oE '^ +- (aescbc|aesgcm|secretbox|kms|identity):' {ENCRYPTION}" in script
