"""Machines of one's own with a kernel of their own: control groups v2, a bastion, sudo with a password (make vms)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import vm_image
from commandline import LAB, is_a_cluster
from vm import BOOT_SECONDS, Estate, Machine, estate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.lab, pytest.mark.apart, pytest.mark.timeout(1200)]

CONTROLLER = Machine(name="controller-0", address="10.240.0.10")
WORKER = Machine(name="worker-0", address="10.240.0.20", pod_cidr="10.200.0.0/24", release="debian-13")


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KHW_SUDO_PASSWORD", vm_image.PASSWORD)


def reboot(khw: Estate, machine: str) -> None:
    before = khw.boot_of(machine)
    khw.as_root(machine, "reboot")  # its connection ends as it likes
    deadline = time.monotonic() + BOOT_SECONDS
    while khw.boot_of(machine) in ("", before):
        assert time.monotonic() < deadline, f"{machine} did not come back"
        time.sleep(0.5)


def test_a_controller_and_a_worker_behind_a_bastion(tmp_path: Path) -> None:
    with estate(f"{LAB}-vms", tmp_path, CONTROLLER, WORKER) as khw:
        is_a_cluster(khw)
        reboot(khw, "worker-0")
        khw.ok("verify", "--wait", "120")
        assert khw.json("run")["changed"] == 0
        khw.ok("destroy", "--yes")
