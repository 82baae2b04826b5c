"""Runs that are cancelled or killed, on real machines: nothing is left at work, and the next run makes it good."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from commandline import going

if TYPE_CHECKING:
    from collections.abc import Callable

    from commandline import Khw

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

CONTROLLER, WORKER = "controller-0", "worker-0"
SOON = 15.0  # seconds for a node to notice that its operator is gone; it takes well under one


def at_work(khw: Khw, node: str) -> list[str]:
    """Return the agents on a node, and what they run."""
    found = khw.on(
        node, "pgrep -x python3 -a || true; sudo grep -lz ^KHW_AGENT= /proc/[0-9]*/environ 2>/dev/null || true"
    )
    return found.splitlines()


def nobody_is_at_work(khw: Khw) -> None:
    for node in (CONTROLLER, WORKER):
        deadline = time.monotonic() + SOON
        while (left := at_work(khw, node)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == [], f"still at work on {node}"


def undo(khw: Khw) -> None:
    """Give the next run something to do in several phases."""
    khw.on(CONTROLLER, "sudo rm -f /usr/local/bin/kube-apiserver /var/lib/kubernetes/encryption-config.yaml")
    khw.on(WORKER, "sudo rm -f /usr/local/bin/kubelet /etc/cni/net.d/10-bridge.conf")


def status(khw: Khw) -> Any:
    return khw.json("status")


def whole(khw: Khw) -> None:
    """Whatever was interrupted: its own advice leads to a cluster that is whole."""
    advice = status(khw)["next"]
    if advice != "khw verify":
        khw.ok(*advice.split()[1:])
    assert status(khw)["state"] == "ok"
    assert status(khw)["next"] == "khw verify"
    khw.ok("run", "--limit", f"{CONTROLLER},{WORKER}")
    khw.ok("verify", "--wait", "90")


def test_ctrl_c_lets_steps_end_and_resume_goes_on(cluster: Khw) -> None:
    undo(cluster)
    with going(cluster, "run", "--skip", "smoke") as run:
        assert run.until(lambda line: line.startswith(CONTROLLER) and "certificates" in line)
        run.process.send_signal(signal.SIGINT)
        code, _ = run.end()
    assert code == 130
    assert "stopping: running steps end first" in "".join(run.seen)
    said = status(cluster)
    assert (said["state"], said["next"]) == ("cancelled", "khw run --resume")
    assert "smoke" not in said["phases"]
    nobody_is_at_work(cluster)

    report = cluster.json("run", "--resume")
    assert report["ok"]
    assert report["changed"] > 0
    phases = {row["phase"] for rows in report["hosts"].values() for row in rows}
    assert "prerequisites" not in phases, "it goes on from where it stopped"
    assert "smoke" not in phases, "its selection is that of the run that it resumes"
    assert "nothing to do" in cluster("run", "--resume").stderr
    whole(cluster)


def test_ctrl_c_twice_ends_what_a_node_is_at_in_the_middle(cluster: Khw) -> None:
    frozen = "sudo systemctl kill --signal={} kube-apiserver"
    cluster.on(CONTROLLER, frozen.format("STOP"))  # its phase waits for it, for minutes
    try:
        with going(cluster, "run", "--limit", CONTROLLER) as run:
            assert run.until(lambda line: "etcd" in line)
            assert eventually(lambda: any("environ" in line for line in at_work(cluster, CONTROLLER)))
            run.process.send_signal(signal.SIGINT)
            assert run.until(lambda line: "stopping" in line)
            with pytest.raises(subprocess.TimeoutExpired):
                run.process.wait(2)  # the step still runs
            run.process.send_signal(signal.SIGINT)
            code, seconds = run.end()
        assert code == 130
        assert seconds < 6
        nobody_is_at_work(cluster)
    finally:
        cluster.on(CONTROLLER, frozen.format("CONT"))
    assert status(cluster)["next"] == "khw run --resume"
    whole(cluster)


def eventually(condition: Callable[[], object], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("lines", [1, 12])
def test_a_run_that_was_killed_is_resumed(cluster: Khw, lines: int) -> None:
    undo(cluster)
    with going(cluster, "run") as run:
        assert run.until(lambda _: len(run.seen) >= lines)
        run.process.kill()
        run.end()
    nobody_is_at_work(cluster)
    said = status(cluster)
    assert (said["state"], said["next"], said["exit_code"]) == ("killed", "khw run --resume", None)
    whole(cluster)


def test_a_host_that_failed_earlier_is_known_after_a_run_elsewhere(cluster: Khw) -> None:
    cluster.on(WORKER, "sudo rm -f /usr/local/bin/kubelet && sudo mkdir /usr/local/bin/kubelet")
    assert cluster("run", "--limit", WORKER, "--phase", "runtime").returncode == 3
    cluster.ok("run", "--limit", CONTROLLER)
    said = status(cluster)
    assert (said["state"], said["next"]) == ("ok", "khw run --failed")
    (row,) = [row for row in said["hosts"] if row["host"] == WORKER]
    assert (row["state"], row["phase"]) == ("failed", "runtime")
    assert "kubelet" in row["why"]
    cluster.on(WORKER, "sudo rmdir /usr/local/bin/kubelet")
    assert set(cluster.json("run", "--failed")["hosts"]) == {WORKER}
    whole(cluster)
