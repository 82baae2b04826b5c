"""The guide by hand: every phase's script, run in order on bare machines, gives a cluster that khw verifies."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from commandline import KHW, LAB, Khw
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.lab, pytest.mark.apart, pytest.mark.timeout(1800)]

MINE = f"{LAB}-hand"
# Controllers, and as many workers: the order of things shows with one of each, waiting for each other only with three
SIZE = int(os.environ.get("KHW_TEST_BY_HAND", "1"))
NODES = tuple(f"{role}-{n}" for role in ("controller", "worker") for n in range(SIZE))
WITHOUT_NODES = ("01-prerequisites.sh", "02-tools.sh", "03-compute.sh")


@pytest.fixture(params=[False, True], ids=["public", "private"])
def bare(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Khw]:
    """A cluster file for SIZE controllers and workers in a lab of its own, and nothing else."""
    it = Khw(tmp_path)
    it.ok("lab", "down", "--name", MINE)  # a killed run's leftover
    it.ok("lab", "up", "--name", MINE)
    it.ok("init", "--lab", MINE)
    yaml = YAML(typ="safe")
    spec = yaml.load((tmp_path / "khw.yaml").read_text())
    spec["controllers"]["count"] = spec["workers"]["count"] = SIZE
    spec["gcp"]["private_nodes"] = request.param
    yaml.dump(spec, tmp_path / "khw.yaml")
    yield it
    it.ok("lab", "down", "--name", MINE)


def by_hand(khw: Khw, script: Path) -> None:
    """Run a script as the guide says: on this machine, then on the nodes at the same time."""
    run(["sh", str(script)], khw.folder)
    if script.name not in WITHOUT_NODES:
        on_nodes(khw, script)


def on_nodes(khw: Khw, script: Path) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: run([KHW, "ssh", node, "sudo", "sh"], khw.folder, script), NODES))


def run(argv: list[str], folder: Path, script: Path | None = None) -> None:
    stdin = script.read_text() if script else ""
    done = subprocess.run(argv, cwd=folder, input=stdin, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, f"{argv} {script}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_the_scripts_of_every_phase_in_order_give_a_cluster_that_verify_accepts(bare: Khw) -> None:
    before, after = bare.folder / "before", bare.folder / "after"
    bare.ok("export", "--scripts", str(before), "--offline")
    for name in WITHOUT_NODES:
        by_hand(bare, before / name)
    bare.ok("export", "--scripts", str(after))
    on_nodes(bare, after / "01-prerequisites.sh")
    for script in sorted(after.iterdir()):
        if script.name not in WITHOUT_NODES:
            by_hand(bare, script)
    bare.ok("verify", "--wait", "60")
    pending = {
        change["resource"].partition(":")[0]
        for rows in bare.json("plan")["hosts"].values()
        for row in rows
        for change in row["changes"]
    }
    assert pending <= {"unit", "image"}  # what they were started with, and imported from, only khw's own agent records
