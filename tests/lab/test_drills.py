"""Every drill on real machines: started, seen by verify, repaired as its last hint says, checked, and restored."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commandline import KHW

from khw.drills.ground import Ground
from khw.drills.practice import Practice
from khw.drills.state import load
from khw.drills.table import DRILLS
from khw.session import open_session

if TYPE_CHECKING:
    from commandline import Khw

    from khw.drills.drill import Drill

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

IN_CI = ("pod-route", "etcd-leader")  # quick ones; the others: make drills
FOILED = ("permission denied", "command not found", "usage:", "you are currently not seeing messages")
UNTRIED = ("describe pod", "ADDRESS", "khw run")  # for the learner to fill in, or told to be of no use
SEEN_WITHIN = 90.0  # seconds: a node is NotReady only 40 s after its kubelet fell silent


def root_seen(khw: Khw, row: Drill) -> str:
    """
    Run verify until it names the root, as it will within SEEN_WITHIN; return it: the only cause, not one of forty.

    By then what proves the repair must fail too: `khw drill check` asks the same checks.
    """
    state = load(workspace(khw) / "drill.json")
    assert state is not None
    cause, node = (text.format_map(state.values) for text in (row.cause.id, row.cause.node))
    deadline = time.monotonic() + SEEN_WITHIN
    while True:
        said = json.loads(khw("verify", "-o", "json").stdout)
        found = [(one["id"], one["nodes"]) for one in said["causes"]]
        effects = {
            check["name"] for check in said["checks"] if check["check"] in row.proof and check["status"] == "failed"
        }
        if effects and [seen for seen, _ in found] == [cause] and (not node or node in found[0][1]):
            return f"{cause} {','.join(found[0][1])}".rstrip()
        assert time.monotonic() < deadline, f"{cause} {node} is not all of {found}, or no effect is seen: {effects}"


def workspace(khw: Khw) -> Path:
    return khw.folder / ".khw" / "kubernetes-the-hard-way"


def looked(khw: Khw, line: str) -> None:
    """Type what a hint shows in its text: what comes of it depends on what is broken; it must be let to look."""
    done = at_the_terminal(khw, line)
    said = f"{line}\n{done.stdout}\n{done.stderr}"
    assert not [word for word in FOILED if word.lower() in said.lower()], said


def typed(khw: Khw, line: str) -> None:
    """Run a line of a repair as a learner would."""
    done = at_the_terminal(khw, line)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def at_the_terminal(khw: Khw, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line with khw and kubectl on PATH, where the cluster file is."""
    root = workspace(khw)
    path = f"{Path(KHW).parent}:{root / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=khw.folder,
        env={**os.environ, "PATH": path, "KUBECONFIG": str(root / "kubeconfig")},
        capture_output=True,
        text=True,
        errors="replace",  # etcd's values are bytes
        timeout=300,
        check=False,
    )


def hints(khw: Khw) -> tuple[list[str], list[str]]:
    """Ask for all hints; return the whole commands in their texts, and those of the last one: the repair."""
    practice = Practice(open_session(khw.folder / "khw.yaml"))  # in this process: there are many
    shown: list[str] = []
    while True:
        given = practice.hint()
        if given.number == given.total:
            return shown, [line.strip() for line in given.text.splitlines()[1:]]
        in_text = re.findall(r"`((?:khw|kubectl) [^`]+)`", given.text)
        shown += [" ".join(line.split()) for line in in_text if not any(word in line for word in UNTRIED)]


def broken_again(khw: Khw, row: Drill) -> None:
    """Break what was repaired once more, so that the way back begins from the broken state."""
    session = open_session(khw.folder / "khw.yaml")
    state = load(session.workspace.drill)
    assert state is not None
    with session.connected() as context:
        row.make(Ground(context=context, folder=session.workspace.drill_folder), state.values)


@pytest.mark.parametrize(
    "row", [pytest.param(r, id=r.name, marks=() if r.name in IN_CI else pytest.mark.apart) for r in DRILLS]
)
def test_a_drill_is_seen_repaired_and_restored(cluster: Khw, row: Drill, drills: list[tuple[str, ...]]) -> None:
    clock = [time.monotonic()]
    cells = [row.name]

    def note(what: str) -> None:
        clock.append(time.monotonic())
        cells.append(f"{what} {clock[-1] - clock[-2]:.0f} s")

    drills.append((row.name, "not started"))
    if (workspace(cluster) / "drill.json").exists():  # the one before was not restored: one failure is enough
        cluster.ok("drill", "stop")
    told = cluster.ok("drill", "start", row.name)
    note("started")
    assert len(told.split()) > 40
    seen = "?"
    try:
        seen = root_seen(cluster, row)
        note("seen")
        if row.name in IN_CI:
            assert cluster("drill", "check").returncode == 3
            assert len(cluster.ok("drill", "hint").split()) > 10
        shown, repair = hints(cluster)
        for line in shown:
            looked(cluster, line)
        for line in repair:
            typed(cluster, line)
        note("repaired")
        cluster.ok("drill", "check", "--wait", "120")
        note("checked")
        broken_again(cluster, row)
        note("broken again")
    finally:
        done = cluster("drill", "stop")
        note("restored")
        drills[-1] = (*cells, f"{clock[-1] - clock[0]:.0f} s", seen)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert not (workspace(cluster) / "drill.json").exists()


@pytest.mark.apart
def test_a_start_that_is_killed_half_way_is_put_right(cluster: Khw) -> None:
    """As soon as it is noted that something breaks, its process dies: all three certificates, or one, or none."""
    starting = subprocess.Popen([KHW, "drill", "start", "service-cidr"], cwd=cluster.folder, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (workspace(cluster) / "drill.json").exists():
        assert starting.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    starting.kill()
    starting.wait(timeout=10)
    second = cluster("drill", "start", "pod-route")
    assert second.returncode == 2
    assert "was begun already" in second.stderr
    cluster.ok("drill", "stop")


@pytest.mark.apart
def test_what_a_learner_made_worse_is_put_right(cluster: Khw) -> None:
    """The only copy of etcd's data is wiped too: what was there when the drill began is there at its end."""
    cluster.kubectl("create", "configmap", "kept", "--from-literal=since=before")
    cluster.ok("drill", "start", "etcd-quorum")
    cluster.on("controller-0", "sudo systemctl stop etcd; sudo rm -rf /var/lib/etcd/member; sudo rm /etc/etcd/ca.pem")
    cluster.on("worker-0", "sudo rm -rf /etc/cni/net.d; sudo systemctl disable --now kubelet")
    cluster.on("worker-1", "echo '{}' | sudo tee /etc/cni/net.d/00-first.conf")
    cluster.ok("drill", "stop")
    assert cluster.kubectl("get", "configmap", "kept", "--output=jsonpath={.data.since}") == "before"
    cluster.kubectl("delete", "configmap", "kept")
