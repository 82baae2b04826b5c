"""The crowd, up: its two processes, and the cluster file in which khw finds a thousand machines of the user's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from benchmarks.crowd.agents import SHELL
from khw.artifacts.cache import Cache, default_directory
from khw.artifacts.toolchain import find_go
from khw.files import write_atomically, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
CONTROLLERS = 3
FIRST_INTERNAL = IPv4Address("172.16.0.1")  # never asked: khw reaches them on loopback
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Village:
    """A crowd that listens."""

    cluster_file: Path
    front: int  # the process that speaks SSH
    agents: int  # the one that the agents are forked from

    def cpu(self) -> tuple[float, float]:
        """Return the seconds of CPU that SSH and the agents (that have ended) have used so far."""
        return _cpu(self.front), _cpu(self.agents)


@contextmanager
def crowd(root: Path, hosts: int) -> Iterator[Village]:
    """Have so many machines, new and bare, for the length of the block."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    public = _login_key(root)
    binary, socket = _built(root), root / "agents"
    agents = (sys.executable, "-m", "benchmarks.crowd.agents", str(socket), str(root / "machines"))
    front = (str(binary), "-hosts", str(hosts), "-authorized", str(public), "-agents", str(socket))
    with (
        subprocess.Popen(agents, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as second,
        subprocess.Popen(front, stdout=subprocess.PIPE, text=True) as first,
    ):
        try:
            next(iter(second.stdout or ()))  # it says when it listens; the front does when all machines do
            rows = [line.split() for line in islice(first.stdout or (), hosts)]
            yield Village(_cluster_file(root, rows), first.pid, second.pid)
        finally:
            first.terminate()
            second.terminate()


def _built(root: Path) -> Path:
    go = find_go(Cache(default_directory()), print).command
    target = root / SHELL
    alone = {**os.environ, "CGO_ENABLED": "0"}  # the machines have no libraries
    subprocess.run([go, "build", "-trimpath", "-o", str(target), "."], cwd=HERE, env=alone, check=True, timeout=600)
    return target


def _login_key(root: Path) -> Path:
    """Make the key that the machines let in; return the file of its public half."""
    key = Ed25519PrivateKey.generate()
    write_private(root / "key", key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = root / "key.pub"
    write_atomically(public, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    return public


def _cluster_file(root: Path, rows: list[list[str]]) -> Path:
    nodes = [_node(index, *row) for index, row in enumerate(rows)]
    spec = {
        "name": "crowd",
        "provider": "static",
        "network": {"cluster_cidr": "10.0.0.0/12", "service_cidr": "10.32.0.0/24"},
        "static": {"api_address": "192.0.2.1", "nodes": nodes},
        "ssh": {"user": "root", "private_key": str(root / "key")},
    }
    path = root / "khw.yaml"
    write_atomically(path, json.dumps(spec, indent=2).encode())  # YAML takes JSON
    return path


def _node(index: int, address: str, port: str, kind: str, key: str) -> dict[str, object]:
    worker = index - CONTROLLERS
    row: dict[str, object] = {
        "name": f"controller-{index}" if worker < 0 else f"worker-{worker}",
        "role": "controller" if worker < 0 else "worker",
        "address": str(FIRST_INTERNAL + index),
        "host": address,
        "port": int(port),
        "host_keys": [f"{kind} {key}"],
    }
    if worker >= 0:
        row["pod_cidr"] = f"10.{worker >> 8}.{worker & 255}.0/24"
    return row


def _cpu(process: int) -> float:
    """Return the seconds of CPU of a process and its children that have ended."""
    columns = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in columns[11:15]) / TICKS
