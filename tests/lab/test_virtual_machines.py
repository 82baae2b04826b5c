"""Machines of one's own with a kernel of their own: control groups v2, a bastion, sudo with a password (make vms)."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from commandline import LAB, is_a_cluster
from vm import SHARED, Estate, Machine, estate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.lab, pytest.mark.apart, pytest.mark.timeout(1200)]

CONTROLLER = Machine(name="controller-0", address="10.240.0.10")
WORKER = Machine(name="worker-0", address="10.240.0.20", pod_cidr="10.200.0.0/24", release="debian-13")


def reboot(khw: Estate, machine: str) -> None:
    before = khw.boot_of(machine)
    khw.as_root(machine, "reboot")  # its connection ends as it likes
    deadline = time.monotonic() + khw.patience
    while khw.boot_of(machine) in ("", before):
        assert time.monotonic() < deadline, f"{machine} did not come back"
        time.sleep(0.5)
    khw.wait_for(machine)


def test_a_controller_and_a_worker_behind_a_bastion(tmp_path: Path) -> None:
    with estate(f"{LAB}-vms", tmp_path, CONTROLLER, WORKER) as khw:
        is_a_cluster(khw)
        reboot(khw, "worker-0")
        khw.ok("verify", "--wait", "120")
        assert khw.json("run")["changed"] == 0
        khw.ok("destroy", "--yes")


def test_haproxy_and_keepalived_come_from_the_machines_package_mirror(tmp_path: Path) -> None:
    """And while that does not answer, it is said which package is to come from where."""
    with estate(f"{LAB}-vms", tmp_path, replace(CONTROLLER, pod_cidr="10.200.0.0/24"), balancer="haproxy") as khw:
        khw.as_root("bastion", "systemctl stop mirror")
        failed = khw("run")
        assert failed.returncode == 3
        assert "the package haproxy (it provides haproxy) is missing and cannot be installed" in failed.stderr
        assert "does the node reach its package mirror? If not, put haproxy on it" in failed.stderr
        khw.as_root("bastion", "systemctl start mirror")
        khw.ok("run", "--failed")
        is_a_cluster(khw)
        assert SHARED in khw.on("controller-0", "ip", "address")
        assert khw.on("controller-0", "dpkg-query", "--show", "--showformat=${Package} ", "haproxy", "keepalived")
