"""The whole road on real machines, in the order in which a user walks it. The last test takes the cluster away."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from commandline import KHW, instance

from from_code import cis
from khw.verify.cis.summary import rows

if TYPE_CHECKING:
    from commandline import Khw

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

CONTROLLERS = ("controller-0", "controller-1", "controller-2")
WORKERS = ("worker-0", "worker-1", "worker-2")
ETCDCTL = (
    "sudo etcdctl member list --endpoints=https://127.0.0.1:2379 --cacert=/etc/etcd/ca.pem "
    "--cert=/etc/etcd/kubernetes.pem --key=/etc/etcd/kubernetes-key.pem"
)


def failures(khw: Khw) -> list[dict[str, Any]]:
    done = khw("verify", "-o", "json")
    data = json.loads(done.stdout)
    assert data["ok"] is (done.returncode == 0)
    return [check for check in data["checks"] if check["status"] == "failed"]


def test_bare_machines_become_a_cluster(first_run: Any) -> None:
    assert first_run["ok"]
    assert set(first_run["hosts"]) == {"operator", *CONTROLLERS, *WORKERS}
    assert first_run["changed"] > 100


def test_verify_is_green(cluster: Khw) -> None:
    cluster.ok("verify", "--wait", "60")


def test_it_stands_by_the_cis_benchmark_as_the_documents_say(cluster: Khw) -> None:
    said = cluster.json("verify", "--profile", "cis")["checks"]
    assert cis.words(rows(map(cis.result, said))) == cis.words(cis.results())


def test_a_second_run_changes_nothing(cluster: Khw) -> None:
    report = cluster.json("run")
    changed = [r for rows in report["hosts"].values() for r in rows if r["changed"]]
    assert changed == []


def test_kubectl_reaches_the_nodes_through_the_load_balancer(cluster: Khw) -> None:
    lines = cluster.kubectl("get", "nodes", "--no-headers").splitlines()
    assert [line.split()[:2] for line in lines] == [[worker, "Ready"] for worker in WORKERS]


def test_the_guides_own_commands_work_on_the_nodes(cluster: Khw) -> None:
    members = cluster.on("controller-0", ETCDCTL).splitlines()
    assert sorted(line.split(", ")[2] for line in members) == list(CONTROLLERS)
    assert all(", started, " in line for line in members)
    for units, nodes in (
        (("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"), CONTROLLERS),
        (("containerd", "kubelet", "kube-proxy"), WORKERS),
    ):
        for node in nodes:
            assert cluster.on(node, "systemctl", "is-active", *units).split() == ["active"] * len(units)
    status = cluster.on(
        "controller-1", "sudo kubectl get componentstatuses --kubeconfig /var/lib/kubernetes/admin.kubeconfig"
    )
    assert status.count("Healthy") == 3
    dns = cluster.kubectl("get", "pods", "-l", "k8s-app=kube-dns", "-n", "kube-system", "--no-headers")
    assert [line.split()[1:3] for line in dns.splitlines()] == [["1/1", "Running"]] * 2


def test_the_route_table_is_the_guides(cluster: Khw) -> None:
    rows = {row["dest_range"]: row for row in cluster.json("routes")}
    for index in range(3):
        row = rows[f"10.200.{index}.0/24"]
        assert row["name"] == f"kubernetes-route-10-200-{index}-0-24"
        assert row["next_hop"] == f"10.240.0.2{index}"
    assert rows["0.0.0.0/0"]["next_hop"] == "default-internet-gateway"


def test_a_stopped_kubelet_without_its_unit_is_named_and_repaired(cluster: Khw) -> None:
    cluster.on("worker-1", "sudo systemctl stop kubelet && sudo rm /etc/systemd/system/kubelet.service")
    failed = failures(cluster)
    assert any(check["node"] == "worker-1" and "kubelet" in check["actual"] for check in failed)
    report = cluster.json("run", "--limit", "worker-1")
    assert set(report["hosts"]) == {"worker-1"}
    assert report["changed"] > 0
    cluster.ok("verify", "--wait", "60")


def test_a_dead_worker_stops_only_itself_and_is_taken_up_again(cluster: Khw) -> None:
    instance(cluster, "worker-2", "stop")
    done = cluster("run", "-o", "json")
    report = json.loads(done.stdout)
    assert done.returncode == 4
    assert [row["outcome"] for row in report["hosts"]["worker-2"]] == ["unreachable"]
    for host in (*CONTROLLERS, "worker-0", "worker-1"):
        assert {row["outcome"] for row in report["hosts"][host]} <= {"ok", "changed", "elsewhere"}
    instance(cluster, "worker-2", "start")
    again = cluster.json("run", "--failed")
    assert set(again["hosts"]) <= {"worker-2", "operator"}
    assert "worker-2" in again["hosts"]
    cluster.ok("verify", "--wait", "60")
    assert "nothing to do" in cluster("run", "--failed").stderr


def test_a_second_run_at_once_is_refused_by_name(cluster: Khw) -> None:
    going = subprocess.Popen(
        [KHW, "run"], cwd=cluster.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert going.stderr is not None
        going.stderr.readline()  # its first line: it holds the lock
        going.send_signal(signal.SIGSTOP)  # and keeps it: there may be nothing left to do
        done = cluster("run")
        assert done.returncode == 1
        assert f"process {going.pid}" in done.stderr
    finally:
        going.send_signal(signal.SIGCONT)
        going.communicate(timeout=300)
    assert going.returncode == 0


def test_it_survives_losing_a_controller_and_a_reboot(cluster: Khw) -> None:
    cluster.ok("smoke", "--disruptive")
    cluster.ok("verify", "--wait", "120")


def test_destroy_leaves_nothing_again_and_again(cluster: Khw) -> None:
    assert "left in the project: nothing" in cluster.ok("destroy", "--yes")
    assert "left in the project: nothing" in cluster.ok("destroy", "--yes")
    assert cluster("inventory").returncode == 1
