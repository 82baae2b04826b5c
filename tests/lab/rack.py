"""Machines of one's own for the lab's tests: bare ones on a switch, a cluster file of theirs, khw in their network."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commandline import KHW, Khw

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SHARED = "10.240.0.100"  # nobody's own


@dataclass(frozen=True)
class Rack(Khw):
    """khw as somebody types it who stands in the machines' network; it is not told that they are a lab."""

    name: str
    balancer: str
    alone: bool  # began without workers: controllers run pods too, and go on with it

    def line(self, *command: str) -> list[str]:
        return [KHW, "lab", "bare", "exec", "--name", self.name, "--", *command]

    def switch(self, what: str, machine: str, *options: str) -> None:
        """Switch a machine on or off."""
        lab(what, "--name", self.name, *options, machine)

    def grow(self, machines: Mapping[str, str], image: str = "debian-12") -> None:
        """Start machines, `name: address`, beside those that stand, and write the cluster file of them all."""
        options = ("--name", self.name, "--key", str(self.folder / "id.pub"), "-o", "json", "--image", image)
        rows = json.loads(lab("up", *options, *(f"{name}={address}" for name, address in machines.items())))
        (self.folder / "khw.yaml").write_text(
            json.dumps(_cluster(rows, self.balancer, alone=self.alone))
        )  # JSON is YAML


def lab(what: str, *args: str) -> str:
    """Run `khw lab bare`."""
    done = subprocess.run([KHW, "lab", "bare", what, *args], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def rack(  # noqa: PLR0913 - what a test says of its machines
    name: str,
    folder: Path,
    controllers: int,
    workers: int,
    *,
    etcd: int = 0,
    balancer: str = "own",
    images: Mapping[str, str] | None = None,
) -> Iterator[Rack]:
    """Start machines, write their cluster file, and take them away again; `images` are those that are not Debian 12."""
    subprocess.run([KHW, "lab", "down", "--name", name], check=True, timeout=120)  # a killed run's leftover
    key = folder / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=30)
    machines = {f"controller-{n}": f"10.240.0.{10 + n}" for n in range(controllers)}
    machines |= {f"worker-{n}": f"10.240.0.{20 + n}" for n in range(workers)}
    machines |= {f"etcd-{n}": f"10.240.0.{30 + n}" for n in range(etcd)}
    alike: dict[str, dict[str, str]] = defaultdict(dict)
    for machine, address in machines.items():
        alike[(images or {}).get(machine, "debian-12")][machine] = address
    it = Rack(folder, name, balancer, alone=not workers)
    try:
        for image, some in alike.items():
            it.grow(some, image)
        yield it
    finally:
        subprocess.run([KHW, "lab", "down", "--name", name], check=True, timeout=120)


def _cluster(rows: list[dict[str, Any]], balancer: str, *, alone: bool) -> dict[str, Any]:
    nodes = [{**row, "role": row["name"].partition("-")[0]} for row in rows]
    running = [node for node in nodes if node["role"] == "worker" or alone]
    for index, node in enumerate(running):
        node["pod_cidr"] = f"10.200.{index}.0/24"
    first = SHARED if balancer == "haproxy" else nodes[0]["address"]
    return {
        "name": "rack",
        "provider": "static",
        "ssh": {"user": "debian", "private_key": "id"},
        "static": {"api_address": first, "balancer": balancer, "nodes": nodes},
    }
