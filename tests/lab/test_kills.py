"""khw is killed at fifty points spread over the making of a cluster; the runs between converge, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from commandline import KHW, LAB, Khw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.lab, pytest.mark.apart, pytest.mark.timeout(3600)]

POINTS = 50
COUNTED = {"created", "updated", "restarted", "started", "ran", "removed"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Khw]:
    """A lab and a folder of its own, without a cluster; three controllers and a worker are asked for."""
    name = f"{LAB}-kills"
    subprocess.run([KHW, "lab", "down", "--name", name], check=True, timeout=120)
    subprocess.run([KHW, "lab", "up", "--name", name], check=True, timeout=600)
    it = Khw(tmp_path_factory.mktemp("kills"))
    try:
        it.ok("init", "--lab", name)
        file = it.folder / "khw.yaml"
        file.write_text(file.read_text().replace("workers:\n  count: 3", "workers:\n  count: 1"))
        yield it
    finally:
        subprocess.run([KHW, "lab", "down", "--name", name], check=True, timeout=120)


class Killed:
    """A run that is killed once its journal tells of so many changes (and, at every other point, a moment later)."""

    def __init__(self, khw: Khw, *args: str) -> None:
        self._runs = khw.folder / ".khw" / "kubernetes-the-hard-way" / "runs"
        self._before = set(self._journals())
        self._process = subprocess.Popen(
            [KHW, *args], cwd=khw.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _journals(self) -> list[Path]:
        return sorted(self._runs.glob("*.jsonl"))

    def after(self, changes: int, later: float) -> bool:
        """Kill it there; False if it ended before, which is when there was no more to do."""
        while self._process.poll() is None:
            if self.changes() >= changes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(later)
                self._process.kill()
                return self._process.wait() == -9
            time.sleep(0.005)
        assert self._process.returncode == 0, "a run between two kills failed"
        return False

    def changes(self) -> int:
        new = [path for path in self._journals() if path not in self._before]
        if not new:
            return 0
        lines = new[-1].read_text(errors="replace").splitlines()
        return sum(any(f'"action":"{word}"' in line for word in COUNTED) for line in lines)


def total_of(khw: Khw) -> int:
    """Return how many changes the plan of everything has."""
    plan = khw.json("plan", "--skip", "smoke")
    return int(plan["changed"])


def write(khw: Khw, number: int) -> bool:
    """Write something, if the API is there already; whether it was acknowledged."""
    try:
        khw.kubectl("create", "configmap", f"kept-{number}", "--request-timeout=5s")
    except (AssertionError, OSError, subprocess.SubprocessError):
        return False
    return True


def test_fifty_kills_on_the_way_to_a_cluster(own: Khw, matrix: list[tuple[str, ...]]) -> None:
    began = time.monotonic()
    step = max(1, total_of(own) // (2 * POINTS))  # changes come in bursts
    kills, kept = 0, []
    while kills < POINTS:
        if not Killed(own, "run", "--skip", "smoke").after(step, later=0.0 if kills % 2 else 0.25):
            break
        kills += 1
        if write(own, kills):
            kept.append(f"kept-{kills}")
    on_the_way = kills
    while kills < POINTS:  # what is left of the fifty: the same files and services, taken away again
        own.on("worker-0", "sudo rm -rf /usr/local/bin/kubelet /etc/cni/net.d /var/lib/kube-proxy")
        own.on("controller-1", "sudo rm -rf /var/lib/kubernetes/*.kubeconfig /usr/local/bin/kube-scheduler")
        assert Killed(own, "run", "--skip", "smoke").after(1 + kills % 4, later=0.1 * (kills % 3))
        kills += 1
        if write(own, kills):
            kept.append(f"kept-{kills}")
    own.ok("run", "--resume")
    own.ok("verify", "--wait", "180")
    there = own.kubectl("get", "configmaps", "--output=name").split()
    assert {f"configmap/{name}" for name in kept} <= set(there), "an acknowledged write is lost"
    again = own.json("run", "--skip", "smoke")
    assert not [row for rows in again["hosts"].values() for row in rows if row["changed"]]
    told = f"{kills} kills ({on_the_way} on the way up), all resumed; {len(kept)} writes, none lost"
    matrix.append(("khw killed", "during a run", told, f"{time.monotonic() - began:.0f} s"))


def test_kills_on_the_way_down(own: Khw, matrix: list[tuple[str, ...]]) -> None:
    began = time.monotonic()
    for later in (0.5, 1.0, 1.5):
        process = subprocess.Popen([KHW, "destroy", "--yes"], cwd=own.folder, stdout=-3, stderr=-3)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(later)
        process.kill()
        process.wait()
    assert "left in the project: nothing" in own.ok("destroy", "--yes")
    assert json.loads(own.ok("lab", "status", "--name", f"{LAB}-kills", "-o", "json"))["machines"] == []
    matrix.append(("khw destroy killed", "three times", "healed by a re-run", f"{time.monotonic() - began:.0f} s"))
