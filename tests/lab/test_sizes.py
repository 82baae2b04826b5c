"""The same cluster in every size, from the emulated project and from machines of one's own (make sizes)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from commandline import LAB, is_a_cluster
from project import project
from rack import SHARED, Rack, rack

if TYPE_CHECKING:
    from pathlib import Path

    from commandline import Khw

pytestmark = [pytest.mark.lab, pytest.mark.apart, pytest.mark.timeout(900)]

SIZES = [(1, 0), (1, 2), (3, 3), (5, 1)]


@pytest.mark.parametrize(("controllers", "workers"), SIZES)
def test_in_a_project(tmp_path: Path, controllers: int, workers: int) -> None:
    sizes = {"controllers": {"count": controllers}, "workers": {"count": workers}}
    with project(f"{LAB}-size", tmp_path, **sizes) as khw:
        is_a_cluster(khw)


@pytest.mark.parametrize(("controllers", "workers"), SIZES)
def test_on_machines_of_ones_own(tmp_path: Path, controllers: int, workers: int) -> None:
    balancer = "haproxy" if controllers > 1 else "own"
    with rack(f"{LAB}-rack", tmp_path, controllers, workers, balancer=balancer) as khw:
        is_a_cluster(khw)
        if controllers == 3:
            its_address_moves_and_its_routes_stay(khw)


def test_etcd_on_machines_of_its_own_in_a_project(tmp_path: Path) -> None:
    sizes = {"controllers": {"count": 1}, "workers": {"count": 1}, "etcd": {"count": 3, "disk_gb": 50}}
    with project(f"{LAB}-size", tmp_path, **sizes) as khw:
        assert "etcd-2" in khw.ok("plan")
        is_a_cluster(khw)
        etcd_is_where_it_should_be(khw)
        khw.ok("smoke", "--disruptive")
        drills_know_it(khw)


MEMBERS = {"etcd-0", "etcd-1", "etcd-2"}


def etcd_is_where_it_should_be(khw: Khw) -> None:
    """On its machines and nowhere else, as the nodes, verify, the report and the pictures say."""
    assert khw("ssh", "controller-0", "systemctl", "is-active", "etcd").returncode != 0
    checks = khw.json("verify")["checks"]
    assert {row["node"] for row in checks if row["name"] == "etcd"} == MEMBERS
    khw.ok("report", "-o", "report.html")
    shown = (khw.folder / "report.html").read_text()
    for drawn in (shown, khw.ok("diagram", "network"), khw.ok("diagram", "components")):
        assert all(name in drawn for name in MEMBERS)
    assert "each of 3 etcd machines" in khw.ok("diagram", "tls")


def drills_know_it(khw: Khw) -> None:
    """A drill about the controllers' etcd says so; the one about etcd's leader breaks it, and is taken back."""
    refused = khw("drill", "start", "etcd-quorum")
    assert (refused.returncode, "etcd on the controllers" in refused.stderr) == (2, True)
    khw.ok("drill", "start", "etcd-leader")
    causes = json.loads(khw("verify", "-o", "json").stdout)["causes"]
    assert [(one["id"], set(one["nodes"]) <= MEMBERS) for one in causes] == [("unit:etcd.service", True)]
    khw.ok("drill", "stop")
    assert khw.json("run")["changed"] == 0


UNITS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet", "kube-proxy")


def test_one_machine_grows_by_two_workers(tmp_path: Path) -> None:
    with rack(f"{LAB}-rack", tmp_path, 1, 0) as khw:
        is_a_cluster(khw)
        khw.kubectl("create", "configmap", "from-before")
        since = started(khw, "controller-0")
        khw.grow({"worker-0": "10.240.0.20", "worker-1": "10.240.0.21"})
        is_a_cluster(khw)
        assert started(khw, "controller-0") == since
        khw.kubectl("get", "configmap", "from-before")
        nodes = khw.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name} {.items[*].spec.taints}").split()
        assert nodes == ["controller-0", "worker-0", "worker-1"], "not all of them take pods"


def started(khw: Rack, node: str) -> list[str]:
    """When each unit of Kubernetes was started there."""
    rows = khw.on(node, "systemctl", "show", "--value", "--property=ActiveEnterTimestampMonotonic", *UNITS).split()
    assert len(rows) == len(UNITS)
    assert "0" not in rows
    return rows


def answers(khw: Rack) -> bool:
    try:
        return khw.kubectl("get", "--raw", "/readyz", "--request-timeout=2s") == "ok"
    except AssertionError:
        return False


def its_address_moves_and_its_routes_stay(khw: Rack) -> None:
    """A controller loses its power, and a worker is switched off and on."""
    holder = next(n for n in ("controller-0", "controller-1", "controller-2") if SHARED in khw.on(n, "ip", "address"))
    khw.switch("stop", holder, "--pull")
    deadline = time.monotonic() + 30
    while not answers(khw):
        assert time.monotonic() < deadline, "the API's address did not move"
    khw.switch("start", holder)
    khw.switch("stop", "worker-1")
    khw.switch("start", "worker-1")
    khw.ok("verify", "--wait", "120")
