from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from fakes import cluster

from khw.converge.resources import Require
from khw.tasks import prerequisites

if TYPE_CHECKING:
    from khw.certs.pki import Pki
    from khw.cluster.model import Node

CLUSTER = cluster()


def findings(node: Node) -> dict[str, Require]:
    nobody: Pki = None  # type: ignore[assignment]  # prerequisites need no certificate
    resources = list(prerequisites.resources(node, CLUSTER, nobody))
    return {r.name: r for r in resources if isinstance(r, Require)}


CONTROLLER = findings(CLUSTER.node("controller-0"))
WORKER = findings(CLUSTER.node("worker-0"))


def run(finding: Require) -> subprocess.CompletedProcess[str]:
    return subprocess.run(finding.argv, capture_output=True, text=True, check=False, timeout=20)


def port_finding(*pairs: str) -> Require:
    return replace(WORKER["ports"], argv=(*WORKER["ports"].argv[:3], *pairs))


def test_every_finding_says_what_to_do() -> None:
    for finding in (*CONTROLLER.values(), *WORKER.values()):
        assert finding.problem
        assert finding.hint


def test_workers_are_asked_for_what_containers_need() -> None:
    assert set(WORKER) - set(CONTROLLER) == {
        "kernel-overlay",
        "kernel-br_netfilter",
        "kernel-nf_conntrack",
        "swap",
    }


def test_each_role_is_asked_for_its_own_ports() -> None:
    assert "2379=etcd.service" in CONTROLLER["ports"].argv
    assert "6443=kube-apiserver.service" in CONTROLLER["ports"].argv
    assert "10250=kubelet.service" in WORKER["ports"].argv
    assert not [word for word in WORKER["ports"].argv if word.endswith("=etcd.service")]


def test_a_port_that_a_stranger_holds_is_found_with_its_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        seen = run(port_finding(f"{port}=kubelet.service"))
        assert seen.returncode == 1
        assert f"port {port} is held by" in seen.stdout
    assert run(port_finding(f"{port}=kubelet.service")).returncode == 0


def test_a_port_that_our_own_unit_holds_is_no_finding() -> None:
    with open(f"/proc/{os.getpid()}/cgroup") as groups:  # noqa: PTH123 - a file of the kernel
        own = groups.read().splitlines()[0].rpartition("/")[2]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert run(port_finding(f"{port}={own}")).returncode == 0


def test_another_host_name_is_seen_and_shown() -> None:
    seen = run(CONTROLLER["host-name"])
    assert seen.stdout == f"the host name is {os.uname().nodename}\n"
    assert (seen.returncode == 0) == (os.uname().nodename == "controller-0")


def test_findings_run_in_any_shell_and_complain_of_nothing_else() -> None:
    for finding in (*CONTROLLER.values(), *WORKER.values()):
        assert run(finding).returncode in {0, 1}, finding.name
        assert run(finding).stderr == "", finding.name
