"""From half-done states back to a cluster, one controller at a time; what lives is never lost. It leaves all well."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from pathlib import Path

    from commandline import Khw

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

CONTROLLERS = ("controller-0", "controller-1", "controller-2")
ETCDCTL = (
    "sudo etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/etcd/ca.pem "
    "--cert=/etc/etcd/kubernetes.pem --key=/etc/etcd/kubernetes-key.pem"
)
RUN = ("run", "--skip", "smoke")
LOOKING = 2.0  # seconds
STARTED = "systemctl show --property=ExecMainStartTimestampMonotonic --value"


def workspace(khw: Khw) -> Path:
    return khw.folder / ".khw" / "kubernetes-the-hard-way"


def members(khw: Khw, node: str) -> dict[str, str]:
    """Return the members' names and ids, all of which have started."""
    rows = [line.split(", ") for line in khw.on(node, f"{ETCDCTL} member list").splitlines()]
    assert all(row[1] == "started" for row in rows)
    return {row[2]: row[0] for row in rows}


def addresses(khw: Khw) -> dict[str, str]:
    return {node["name"]: node["external_ip"] for node in khw.json("inventory")}


def rows_of(report: Any, host: str, phase: str) -> Any:
    return next(row for row in report["hosts"][host] if row["phase"] == phase)


def changed(report: Any) -> set[tuple[str, str]]:
    return {(host, row["phase"]) for host, rows in report["hosts"].items() for row in rows if row["changed"]}


@pytest.fixture(scope="module", autouse=True)
def kept(khw: Khw, first_run: Any) -> Any:
    """An object that has to be there at the end as it was at the beginning: nothing of what lives was lost."""
    assert first_run["ok"]
    khw.kubectl("create", "configmap", "kept", "--from-literal=since=the-beginning")
    yield
    said = khw.kubectl("get", "configmap", "kept", "--output=jsonpath={.metadata.uid} {.data.since}")
    assert said.endswith(" the-beginning")
    khw.kubectl("delete", "configmap", "kept")
    khw.ok("verify", "--wait", "60")


def test_after_the_first_run_nobody_may_start_a_cluster(cluster: Khw) -> None:
    assert not (workspace(cluster) / "etcd-bootstrap").exists()
    said = cluster.on("controller-0", "sudo systemctl cat etcd; test -e /run/khw/etcd.env || echo no note")
    assert "INITIAL_CLUSTER_STATE=existing" in said
    assert said.endswith("no note\n")


def test_half_done_controllers_are_made_whole_one_at_a_time(cluster: Khw) -> None:
    """A cut-off file, another authority's pair, a stopped service, edited units: one run, in turns, and no more."""
    edited = (
        "sudo sed -i s/--v=2/--v=3/ /etc/systemd/system/kube-apiserver.service && "
        "sudo sed -i s/^Description=.*/Description=mine/ /etc/systemd/system/etcd.service && "
        f"sudo systemctl daemon-reload && sudo systemctl restart kube-apiserver && {STARTED} kube-scheduler"
    )
    broken = {
        "controller-0": "sudo truncate -s 100 /var/lib/kubernetes/encryption-config.yaml",
        "controller-1": "sudo sh -c 'cd /var/lib/kubernetes; cp kubernetes.pem kubernetes-key.pem /etc/etcd/'",
        "controller-2": "sudo systemctl stop kube-controller-manager",
    }
    before = {node: cluster.on(node, f"{edited} && {broken[node]}") for node in CONTROLLERS}
    report = cluster.json(*RUN)
    for phase in ("etcd", "control-plane"):
        rows = [rows_of(report, node, phase) for node in CONTROLLERS]
        turns = sorted((row["started"] + row["waited"], row["ended"]) for row in rows)  # looking comes before waiting
        assert all(first[1] <= second[0] + LOOKING for first, second in pairwise(turns)), turns
    assert ("controller-0", "encryption") in changed(report)
    assert ("controller-1", "certificates") in changed(report)
    assert {node: cluster.on(node, f"{STARTED} kube-scheduler") for node in CONTROLLERS} == before
    assert changed(cluster.json(*RUN)) == set()


def test_a_wiped_member_starts_nothing_by_itself_and_joins_again(cluster: Khw) -> None:
    before = members(cluster, "controller-0")
    cluster.on(
        "controller-2",
        "sudo systemctl stop etcd; sudo rm -rf /var/lib/etcd/member; sudo systemctl start --no-block etcd; "
        "for i in 1 2 3 4 5 6; do systemctl is-active etcd | grep -q ^active && exit 1; sleep 0.5; done",
    )
    report = cluster.json(*RUN)
    assert ("controller-2", "etcd") in changed(report)
    assert not {("controller-0", "etcd"), ("controller-1", "etcd")} & changed(report)
    after = members(cluster, "controller-2")
    assert set(after) == set(CONTROLLERS)
    assert after["controller-2"] != before["controller-2"]
    assert {name: after[name] for name in CONTROLLERS[:2]} == {name: before[name] for name in CONTROLLERS[:2]}


def test_machines_deleted_by_hand_come_back_and_join(cluster: Khw) -> None:
    gcp = YAML(typ="safe").load((cluster.folder / "khw.yaml").read_text())["gcp"]
    options: Any = {"credentials": AnonymousCredentials(), "client_options": {"api_endpoint": gcp["endpoint"]}}
    where = {"project": gcp["project"], "zone": gcp["zone"]}
    before, was = members(cluster, "controller-1"), addresses(cluster)
    gone = ("controller-0", "worker-1")
    operations = [compute_v1.InstancesClient(**options).delete_unary(**where, instance=name) for name in gone]
    for operation in operations:
        compute_v1.ZoneOperationsClient(**options).wait(**where, operation=operation.name)
    report = cluster.json(*RUN)
    # A controller may come back with another external address: then the API server's certificate names that one,
    # and every controller takes it in its turn.
    moved = was["controller-0"] != addresses(cluster)["controller-0"]
    others = {phase for host, phase in changed(report) if host not in {*gone, "operator"}}
    assert others == ({"certificates", "control-plane"} if moved else set())
    after = members(cluster, "controller-0")
    assert set(after) == set(CONTROLLERS)
    assert after["controller-1"] == before["controller-1"]
    nodes = [line.split()[:2] for line in cluster.kubectl("get", "nodes", "--no-headers").splitlines()]
    assert ["worker-1", "Ready"] in nodes


def test_a_lost_key_stops_the_run_before_anything_is_touched(cluster: Khw) -> None:
    for name in ("encryption-key", "etcd-ca-key.pem"):
        file = workspace(cluster) / "pki" / name
        aside = file.rename(cluster.folder / name)
        try:
            for command in (("run", "-o", "json"), ("run", "--check", "-o", "json"), ("verify",)):
                done = cluster(*command)
                assert done.returncode != 0, command
                assert str(file) in done.stdout + done.stderr, command
                assert not file.exists(), command
            rows = json.loads(cluster("run", "-o", "json").stdout)["hosts"]
            assert not any(row["changed"] for host in rows.values() for row in host)
        finally:
            aside.rename(file)


def test_no_key_was_ever_shown(cluster: Khw) -> None:
    """Neither in a journal, a plan with its lines, nor in any command line or log of a node."""
    root = workspace(cluster)
    lines = [path.read_text().splitlines()[1] for path in (root / "pki").glob("*-key.pem")]
    lines.append((root / "pki" / "encryption-key").read_text().strip())
    shown = "".join(path.read_text() for path in (root / "runs").glob("*.jsonl"))
    logs = "sudo journalctl --no-pager --output=cat --lines=20000; ps axww -o args"
    shown += cluster.on("controller-0", f"sudo truncate -s 99 /var/lib/kubernetes/kube-scheduler-key.pem; {logs}")
    done = cluster("run", "--check", "--diff", "-o", "json")
    assert "kube-scheduler-key.pem" in done.stdout
    shown += done.stdout + done.stderr
    cluster.json(*RUN)
    shown += cluster.on("worker-0", logs)
    assert not [line for line in lines if line in shown]
