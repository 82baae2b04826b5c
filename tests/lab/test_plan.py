"""A plan on real machines: it writes nothing, and what it says is what the run then does."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commandline import FirstPlan, Khw

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

ONCE = {"rbac", "dns"}  # on whichever controller gets there first
NODES = ("controller-0", "controller-1", "controller-2", "worker-0", "worker-1", "worker-2")
FAST = ("--skip", "smoke")  # it changes nothing, in a plan or in a run
ADMIN = "sudo kubectl --kubeconfig /var/lib/kubernetes/admin.kubeconfig"
# What no login and no running daemon changes by itself
OURS = "/etc /usr/local /opt /root /var/lib/khw /var/lib/kubernetes /var/lib/kube-proxy /var/lib/kubelet/*.pem /run/khw"

Change = tuple[str, str, str, str]  # host, phase, resource, action


def changes(report: Any) -> Iterator[tuple[Change, dict[str, Any]]]:
    for host, rows in report["hosts"].items():
        for row in rows:
            who = "one controller" if row["phase"] in ONCE else host
            for change in row["changes"]:
                yield (who, row["phase"], change["resource"], change["action"]), change


def certain(report: Any) -> set[Change]:
    return {key for key, change in changes(report) if change.get("certain", True)}


def possible(report: Any) -> set[Change]:
    return {key for key, _ in changes(report)}


def diff_of(report: Any, host: str, resource: str) -> str:
    (found,) = (change for key, change in changes(report) if (key[0], key[2]) == (host, resource))
    return str(found.get("diff", ""))


def state_of(khw: Khw) -> dict[str, tuple[int, str]]:
    files = sorted(file for file in khw.folder.rglob("*") if file.is_file())
    return {str(f): (f.stat().st_mtime_ns, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files}


def stranger() -> bytes:
    """A worker's certificate of somebody else's authority."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=3))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def planned_then_run(khw: Khw) -> tuple[Any, Any]:
    """Plan, run, and hold the one against the other."""
    plan, done = khw.json("plan", *FAST), khw.json("run", *FAST)
    assert certain(plan) == possible(plan)
    assert possible(done) == certain(plan)
    return plan, done


def test_a_plan_of_everything_writes_and_makes_nothing(first_plan: FirstPlan) -> None:
    assert first_plan.report["check"]
    assert first_plan.files == [".khw", ".khw/khw.schema.json", "khw.yaml"]  # as khw init left them
    assert first_plan.found.splitlines()[1:] == ["would stay: nothing"]


def test_the_first_run_does_what_its_plan_said(first_plan: FirstPlan, first_run: Any) -> None:
    plan = first_plan.report
    assert set(plan["hosts"]) == {"operator", *NODES}
    assert certain(plan) - possible(first_run) == set()
    assert possible(first_run) - possible(plan) == set()
    open_ones = {resource.split(":")[0] for _, _, resource, _ in possible(plan) - certain(plan)}
    assert open_ones == {"package", "command"}, "what the machines' image brings is all that was not known"


def test_the_plan_of_a_whole_cluster_is_empty_and_leaves_no_trace(cluster: Khw) -> None:
    planned_then_run(cluster)  # whatever tests before this one left
    for node in NODES:
        cluster.on(node, "sudo touch /var/tmp/before-plan")
    before = state_of(cluster)
    done = cluster("plan", "--exit-code", "-o", "json")
    assert done.returncode == 0
    assert possible(json.loads(done.stdout)) == set()
    assert state_of(cluster) == before
    for node in NODES:
        touched = cluster.on(node, f"sudo sh -c 'find {OURS} -newercm /var/tmp/before-plan 2>/dev/null; true'")
        assert touched.split() == []
        cluster.on(node, "sudo rm /var/tmp/before-plan")


def test_a_drifted_cluster_is_repaired_as_planned(cluster: Khw) -> None:
    certificate = base64.b64encode(stranger()).decode()
    for node, script in {
        "worker-0": "echo '# by hand' >> /etc/systemd/system/kubelet.service; systemctl daemon-reload; "
        "systemctl restart kubelet; rm /etc/cni/net.d/99-loopback.conf /opt/cni/bin/portmap",
        "worker-1": f"echo {certificate} | base64 -d > /var/lib/kubelet/worker-1.pem; "
        "systemctl --no-block restart kubelet; "
        "sed -i s,https://.*:6443,https://192.0.2.1:6443, /var/lib/kube-proxy/kubeconfig",
        "worker-2": "systemctl stop containerd",
        "controller-1": "systemctl stop kube-scheduler; rm /etc/kubernetes/config/audit-policy.yaml; "
        "echo '# by hand' >> /etc/systemd/system/etcd.service; chmod 644 /var/lib/kubernetes/admin.kubeconfig",
    }.items():
        cluster.on(node, f'sudo sh -c "{script}"')
    cluster.on("controller-0", f'{ADMIN} -n kube-system patch configmap coredns -p \'{{"data":{{"Corefile":"x"}}}}\'')
    (cluster.folder / ".khw/kubernetes-the-hard-way/bin/kubectl").unlink()
    assert cluster("plan", *FAST, "--exit-code").returncode == 1
    plan, _ = planned_then_run(cluster)
    assert {
        ("operator", "tools", "tool:kubectl", "created"),
        ("worker-0", "workers", "unit:kubelet.service", "restarted"),
        ("worker-0", "runtime", "file:/etc/cni/net.d/99-loopback.conf", "created"),
        ("worker-0", "runtime", "binary:/opt/cni/bin/portmap", "created"),
        ("worker-1", "certificates", "file:/var/lib/kubelet/worker-1.pem", "updated"),
        ("worker-1", "workers", "unit:kubelet.service", "restarted"),  # with another's certificate it fails on and on
        ("worker-1", "kubeconfigs", "file:/var/lib/kube-proxy/kubeconfig", "updated"),
        ("worker-2", "runtime", "unit:containerd.service", "started"),
        ("controller-1", "control-plane", "unit:kube-scheduler.service", "started"),
        ("controller-1", "control-plane", "file:/etc/kubernetes/config/audit-policy.yaml", "created"),
        ("controller-1", "etcd", "unit:etcd.service", "updated"),
        ("controller-1", "kubeconfigs", "file:/var/lib/kubernetes/admin.kubeconfig", "updated"),
        ("one controller", "dns", "manifest:coredns", "updated"),
    } == certain(plan)
    assert "-# by hand" in diff_of(plan, "worker-0", "unit:kubelet.service").splitlines()
    fields = diff_of(plan, "worker-1", "file:/var/lib/kubelet/worker-1.pem").splitlines()
    assert {"-subject: CN=stranger", "+subject: CN=system:node:worker-1,O=system:nodes", "+name: worker-1"} <= set(
        fields
    )
    assert "-    server: https://192.0.2.1:6443" in diff_of(plan, "worker-1", "file:/var/lib/kube-proxy/kubeconfig")
    assert "-  Corefile: x" in diff_of(plan, "one controller", "manifest:coredns").splitlines()
    assert "BEGIN" not in json.dumps(plan)
    assert cluster("plan", *FAST, "--exit-code").returncode == 0
    cluster.ok("verify", "--wait", "120")


def test_what_changes_in_the_cluster_file_is_rolled_out_as_planned_there_and_back(cluster: Khw) -> None:
    file = cluster.folder / "khw.yaml"
    original = file.read_text()
    controllers, workers = NODES[:3], NODES[3:]
    expected = {
        *((node, "encryption", "file:/var/lib/kubernetes/encryption-config.yaml", "updated") for node in controllers),
        *((node, "control-plane", "unit:kube-apiserver.service", "restarted") for node in controllers),
        *((node, "workers", "file:/var/lib/kube-proxy/kube-proxy-config.yaml", "updated") for node in workers),
        *((node, "workers", "unit:kube-proxy.service", "restarted") for node in workers),
    }
    # what the other provider has written stays readable, on every API server, there and back
    cluster.kubectl("create", "secret", "generic", "before", "--from-literal=written=before")
    try:
        file.write_text(f"{original}\nencryption: {{provider: secretbox}}\nproxy: {{mode: nftables}}\n")
        plan, _ = planned_then_run(cluster)
        assert certain(plan) == expected
        lines = diff_of(plan, "controller-2", "file:/var/lib/kubernetes/encryption-config.yaml").splitlines()
        assert [line.strip() for line in lines if line.endswith(("aescbc:", "secretbox:"))] == [
            "+      - secretbox:",
            "- aescbc:",
            "-      - secretbox:",
        ]
        assert any(line.strip() == "secret: (masked)" for line in lines)
        cluster.kubectl("create", "secret", "generic", "between", "--from-literal=written=between")
    finally:
        file.write_text(original)
    plan, _ = planned_then_run(cluster)
    assert certain(plan) == expected
    cluster.ok("verify", "--wait", "120")  # has each API server read every Secret
    for name in ("before", "between"):
        written = cluster.kubectl("get", "secret", name, "--output=jsonpath={.data.written}")
        assert base64.b64decode(written).decode() == name
    cluster.kubectl("delete", "secret", "before", "between")
