"""Clusters whose machines differ from each other: in their system, in where they stand (make sizes)."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from commandline import KHW, LAB, Khw
from rack import rack
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = [pytest.mark.lab, pytest.mark.apart, pytest.mark.timeout(900)]

PROJECT = f"{LAB}-place"
FAMILY = "projects/debian-cloud/global/images/family/debian-{}"


def is_a_cluster(khw: Khw) -> None:
    assert khw.json("run")["ok"]
    khw.ok("verify", "--wait", "60")
    assert khw.json("run")["changed"] == 0


@contextmanager
def project(folder: Path, **sections: Mapping[str, Any]) -> Iterator[Khw]:
    """A lab of one's own, and a cluster file with these keys in it."""
    subprocess.run([KHW, "lab", "down", "--name", PROJECT], check=True, timeout=120)  # a killed run's leftover
    subprocess.run([KHW, "lab", "up", "--name", PROJECT], check=True, timeout=600)
    try:
        khw = Khw(folder)
        khw.ok("init", "--lab", PROJECT)
        yaml = YAML()
        file = yaml.load((folder / "khw.yaml").read_text())
        for section, keys in sections.items():
            file[section].update(keys)
        yaml.dump(file, folder / "khw.yaml")
        yield khw
        assert "left in the project: nothing" in khw.ok("destroy", "--yes")
    finally:
        subprocess.run([KHW, "lab", "down", "--name", PROJECT], check=True, timeout=120)


def release(khw: Khw, node: str) -> str:
    """Which Debian a node is, as it says itself."""
    told = khw.on(node, "grep", "VERSION_ID", "/etc/os-release")
    return told.strip().partition("=")[2].strip('"')


def test_debian_12_and_13_in_one_cluster_of_a_project(tmp_path: Path) -> None:
    workers = {"count": 2, "images": [FAMILY.format(12), FAMILY.format(13)]}
    with project(tmp_path, controllers={"count": 1}, workers=workers) as khw:
        is_a_cluster(khw)
        assert [release(khw, node) for node in ("controller-0", "worker-0", "worker-1")] == ["12", "12", "13"]
        khw("ssh", "worker-1", "sudo", "reboot")  # its connection ends as it likes
        khw.ok("verify", "--wait", "120")
        assert khw.json("run")["changed"] == 0


def test_debian_12_and_13_in_one_cluster_of_machines_of_ones_own(tmp_path: Path) -> None:
    """The other way round: the control plane is on Debian 13."""
    with rack(f"{LAB}-rack", tmp_path, 1, 1, images={"controller-0": "debian-13"}) as khw:
        is_a_cluster(khw)
        assert [release(khw, node) for node in ("controller-0", "worker-0")] == ["13", "12"]
