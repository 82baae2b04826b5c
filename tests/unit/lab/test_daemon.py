from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import fakes
import pytest
from emulated import PROJECT, ZONE, Cloud, names, served
from fakes import FakeBackend
from google.cloud import compute_v1 as compute

from khw.lab.backend import MachineState
from khw.lab.state import State

HERE = {"project": PROJECT, "zone": ZONE}


def test_a_restart_keeps_everything(tmp_path, backend):
    with served(tmp_path, backend) as (cloud, found):
        cloud.network()
        cloud.subnet()
        before = cloud.machine("worker-0")
    applied = backend.network
    fresh = FakeBackend(states=dict(backend.states))
    with served(tmp_path, fresh) as (cloud, also):
        after = cloud.instances.get(instance="worker-0", **HERE)
        assert after == before
        assert len(names(cloud.zone_operations.list(**HERE))) == 1
    assert fresh.network == applied
    assert ("create_machine", "worker-0") not in fresh.calls
    assert backend.closed
    assert not found
    assert not also


def test_machines_that_should_run_are_started_and_strays_are_deleted(tmp_path, backend):
    with served(tmp_path, backend) as (cloud, _):
        cloud.network()
        cloud.subnet()
        for name in ("gone", "off", "stopped"):
            cloud.machine(name)
        cloud.done(cloud.instances.stop_unary(instance="stopped", **HERE))
    states = {"off": MachineState.STOPPED, "stopped": MachineState.STOPPED, "stray": MachineState.RUNNING}
    after_reboot = FakeBackend(states=states)
    with served(tmp_path, after_reboot):
        assert after_reboot.states == {
            "gone": MachineState.RUNNING,
            "off": MachineState.RUNNING,
            "stopped": MachineState.STOPPED,
        }


def test_a_machine_that_does_not_start_again_is_terminated_and_the_lab_serves(tmp_path, backend):
    with served(tmp_path, backend) as (cloud, _):
        cloud.network()
        cloud.subnet()
        cloud.machine("worker-0")
    broken = FakeBackend(fails={"create_machine": "no image"})
    with served(tmp_path, broken) as (cloud, _):
        assert cloud.instances.get(instance="worker-0", **HERE).status == "TERMINATED"


def test_an_operation_that_a_killed_daemon_left_is_taken_up_again(tmp_path, backend):
    killed = tmp_path / "killed"
    killed.mkdir()
    with served(tmp_path, backend) as (cloud, _):
        cloud.network()
        cloud.subnet()
        backend.gate.clear()
        operation = cloud.insert_machine("worker-0")
        # What a kill -9 at this moment leaves on the disk:
        (killed / "state.json").write_bytes((tmp_path / "state.json").read_bytes())
        backend.gate.set()
        cloud.done(operation)
    fresh = FakeBackend()
    with served(killed, fresh) as (cloud, found):
        cloud.done(operation)
        assert cloud.instances.get(instance="worker-0", **HERE).status == "RUNNING"
    assert fresh.states == {"worker-0": MachineState.RUNNING}
    assert not found


SERVE = """
import pathlib, sys
from fakes import FakeBackend
from khw.lab.daemon import serve

class Slow(FakeBackend):
    def apply_network(self, state):
        if state.networks:
            print("working", flush=True)
            sys.stdin.readline()
        super().apply_network(state)

serve("unit", pathlib.Path(sys.argv[1]), ("127.0.0.1", int(sys.argv[2])), Slow())
"""


def test_sigterm_ends_the_daemon_when_what_runs_has_ended(tmp_path):
    port = free_port()
    command = [sys.executable, "-c", SERVE, str(tmp_path), str(port)]
    environment = os.environ | {"PYTHONPATH": str(Path(fakes.__file__).parent)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        wait_for(port)
        cloud = Cloud(f"http://127.0.0.1:{port}")
        resource = compute.Network(name="net", auto_create_subnetworks=False)
        cloud.networks.insert_unary(project=PROJECT, network_resource=resource)
        cloud.close()
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.communicate("\n\n", timeout=20)
        assert process.returncode == 0
    state = State(tmp_path / "state.json")
    assert state.entries["global/networks/net"].ready
    assert [job.done for job in state.jobs.values()] == [True]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the daemon does not serve")


def test_a_client_that_waits_is_answered_when_the_daemon_is_to_end(tmp_path, backend):
    answers: list[compute.Operation] = []
    with served(tmp_path, backend) as (cloud, _):
        backend.gate.clear()
        resource = compute.Network(name="net", auto_create_subnetworks=False)
        operation = cloud.networks.insert_unary(project=PROJECT, network_resource=resource)
        waiting = threading.Thread(target=lambda: answers.append(cloud.wait(operation)))
        waiting.start()
        limit = time.monotonic() + 10
        while not cloud.lab.operations.waiters and time.monotonic() < limit:
            time.sleep(0.01)
        cloud.lab.operations.release()
        waiting.join(10)
        assert answers[0].status != compute.Operation.Status.DONE
        backend.gate.set()
