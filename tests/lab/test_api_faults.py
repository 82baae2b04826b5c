"""
What the API does on a bad day, where a machine is concerned: a real one that was made, half made, or never boots.

Each ends in an error that names it or in a run that goes on, and after `khw destroy` there is nothing: no machine, no
disk, no way in the network. All other faults, at every request, are tests/unit/inventory/gcp/test_fault_matrix.py.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from commandline import KHW, LAB, Khw
from project import project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.lab, pytest.mark.apart, pytest.mark.timeout(600)]

NAME = f"{LAB}-api"
SIZES = {"controllers": {"count": 1}, "workers": {"count": 1}, "timeouts": {"boot": 20}}


@pytest.fixture(scope="module")
def khw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Khw]:
    """A lab and a cluster file; each test makes its machines and removes them."""
    folder: Path = tmp_path_factory.mktemp("cluster")
    with project(NAME, folder, **SIZES) as it:
        yield it


def fault(*args: str) -> None:
    subprocess.run([KHW, "lab", "fault", *args, "--name", NAME], check=True, timeout=60)


def machines() -> set[str]:
    """What podman has of the lab: containers, and the volumes that are their disks."""
    told = ""
    for what in (["ps", "--all", "--format", "{{.Names}}"], ["volume", "ls", "--format", "{{.Name}}"]):
        told += subprocess.run(["podman", *what], capture_output=True, text=True, check=True, timeout=60).stdout
    return {name for name in told.split() if name.startswith(f"khw-{NAME}.")}


def wires() -> list[str]:
    """What is plugged into the lab's network."""
    listed = ["ip", "-n", f"khw-{NAME}", "-brief", "link", "show", "type", "veth"]
    return subprocess.run(listed, capture_output=True, text=True, check=True, timeout=60).stdout.split()


def nothing_is_left(khw: Khw) -> None:
    assert "left in the project: nothing" in khw.ok("destroy", "--yes")
    assert machines() == set()
    assert wires() == []
    fault("clear")


@pytest.mark.parametrize(
    ("sort", "code"), [("exhausted", "ZONE_RESOURCE_POOL_EXHAUSTED"), ("operation-error", "INTERNAL_ERROR")]
)
def test_a_machine_that_is_not_made_is_named_and_the_others_are_there(khw: Khw, sort: str, code: str) -> None:
    fault("add", sort, "--on", "instances.insert", "--resource", "worker-0")
    done = khw("run", "--phase", "compute")
    assert done.returncode == 1
    assert code in done.stderr + done.stdout
    assert any(name.endswith(".controller-0") for name in machines())
    if sort == "operation-error":  # the next run goes on; the other ends here
        assert khw.json("run", "--phase", "compute")["ok"]
        assert any(name.endswith(".worker-0") for name in machines())
    nothing_is_left(khw)


def test_a_machine_that_never_boots_is_named_and_goes_with_the_others(khw: Khw) -> None:
    fault("add", "never-boots", "--resource", "worker-0")
    assert khw("run", "--until", "certificates").returncode == 4
    (row,) = [row for row in khw.json("inventory") if row["unreachable"]]
    assert row["name"] == "worker-0"
    assert "published no SSH host keys within 20 s" in row["unreachable"]
    nothing_is_left(khw)


def test_destroy_that_meets_an_error_is_taken_up_again(khw: Khw) -> None:
    khw.ok("run", "--phase", "compute")
    fault("add", "operation-error", "--on", "instances.delete", "--resource", "worker-0")
    done = khw("destroy", "--yes")
    assert done.returncode == 1
    assert "deleting instance worker-0" in done.stderr
    assert any(name.endswith(".worker-0") for name in machines())
    nothing_is_left(khw)
