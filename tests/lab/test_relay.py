"""Artifacts from node to node, through the VPC's firewall and over real machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from commandline import Khw

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

WORKERS = ("worker-0", "worker-1", "worker-2")
BINARY = "/usr/local/bin/kubectl"  # nothing runs it all the time


def test_a_binary_that_three_workers_miss_is_sent_once(cluster: Khw) -> None:
    size, digest = cluster.on("worker-0", f"stat -c %s {BINARY}; sha256sum {BINARY}").split("\n")[:2]
    for worker in WORKERS:
        cluster.on(worker, f"sudo rm {BINARY}")
    file = cluster.folder / "khw.yaml"
    before = file.read_text()
    file.write_text(f"{before}\nartifacts:\n  relay: always\n")
    try:
        report = cluster.json("run", "--phase", "runtime", "--limit", ",".join(WORKERS))
    finally:
        file.write_text(before)
    assert report["ok"]
    assert report["changed"] == len(WORKERS)
    assert report["bytes_relayed"] == (len(WORKERS) - 1) * int(size)
    assert report["bytes_sent"] < int(size) // 2, "it crossed more than once: compressed it is a quarter"
    for worker in WORKERS:
        assert cluster.on(worker, f"sha256sum {BINARY}").strip() == digest.strip()
