"""What the agent promises when its operator dies in the middle of work, on a real machine."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commandline import KHW

from khw.ssh.connection import RemoteCommand, open_agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from commandline import Khw

    from khw.ssh.client import Agent

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

NODE = "controller-2"
UPLOADED = "/usr/local/bin/kube-apiserver"  # a running process keeps its own copy


@pytest.fixture
def agent(cluster: Khw) -> Iterator[Agent]:
    cluster.on(NODE, "true")  # writes known_hosts
    workspace = Path(cluster.ok("kubeconfig").strip()).parent
    (row,) = [row for row in cluster.json("inventory") if row["name"] == NODE]
    with open_agent(
        host=row["external_ip"],
        user="khw",
        private_key=workspace / "ssh_key",
        known_hosts=workspace / "known_hosts",
        name=NODE,
    ) as agent:
        yield agent


def shell(agent: Agent, script: str) -> str:
    return agent.run(RemoteCommand(("sh", "-c", script)))[0].out.strip()


def until(true: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_run_killed_in_the_middle_of_an_upload_leaves_no_orphan_and_is_made_good(cluster: Khw, agent: Agent) -> None:
    before = shell(agent, f"sha256sum {UPLOADED}; systemctl show -p MainPID kube-apiserver")
    shell(agent, f"rm {UPLOADED}")
    run = subprocess.Popen([KHW, "run", "--limit", NODE], cwd=cluster.folder, stdout=-3, stderr=-3)
    assert until(lambda: shell(agent, "ls -A /usr/local/bin | grep khw-"), 60), "the upload never began"
    run.kill()
    run.wait()
    assert until(lambda: shell(agent, "pgrep -xc python3") == "1", 5), "its agent outlived it"
    assert shell(agent, f"ls {UPLOADED} 2>/dev/null") == "", "half a file has its name"

    cluster.ok("run", "--limit", NODE)
    assert shell(agent, f"sha256sum {UPLOADED}; systemctl show -p MainPID kube-apiserver") == before
    assert shell(agent, "ls -A /usr/local/bin | grep khw-") == ""


def test_a_binary_that_somebody_changed_is_put_back(cluster: Khw, agent: Agent) -> None:
    before = shell(agent, "sha256sum /usr/local/bin/etcdutl")
    shell(agent, "echo tampered >> /usr/local/bin/etcdutl")
    report = cluster.json("run", "--limit", NODE)
    assert report["changed"] == 1
    assert shell(agent, "sha256sum /usr/local/bin/etcdutl") == before


def test_records_and_keys_are_private(agent: Agent) -> None:
    states = agent.stat(
        ["/var/lib/khw/digests.json", "/var/lib/khw/units.json", "/var/lib/kubernetes/ca-key.pem"], digest=False
    )
    assert [(state.kind, state.mode, state.owner) for state in states] == [("file", 0o600, "root:root")] * 3
