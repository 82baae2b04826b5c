"""
Chapters 4 to 12 by each contestant: fresh, once more without a change, and one failed worker put right.

Before the clock starts the machines are booted and bare, the load balancer and the routes are there, every file is
rendered, every artifact is here. It stops when the contestant has seen CoreDNS Ready; then what it built is judged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.clock import Case, measure
from benchmarks.ground import PEERS, ansible_settings
from benchmarks.tree import FIRST, LAST, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.clock import Sample
    from benchmarks.ground import Ground

FRESH, AGAIN, REPAIR = "fresh", "again", "repair"
FAILED = "worker-0"
UNIT = "/etc/systemd/system/kubelet.service"
BREAK = f"sudo systemctl disable --now kubelet && sudo rm {UNIT} && sudo systemctl daemon-reload"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A tool: its command for the whole cluster, and what is added to it for one host."""

    name: str
    command: tuple[str, ...]
    limit: tuple[str, ...]
    environment: Mapping[str, str]
    note: str

    def case(self, ground: Ground, *, limited: bool) -> Case:
        """Return the command for all hosts, or for the failed worker."""
        command = (*self.command, *self.limit) if limited else self.command
        return Case(
            name=self.name, command=command, directory=ground.root, environment=self.environment, note=self.note
        )


def contestants(ground: Ground, commands: Path) -> tuple[Contestant, ...]:
    """Return them all; `commands` is where the peers' commands are."""
    root = str(ground.root)
    floor, pyinfra = PEERS / "floor.sh", PEERS / "pyinfra"
    return (
        Contestant(
            "khw",
            (*ground.khw, "run", "--from", FIRST, "--until", LAST),
            ("--limit", FAILED),
            {},
            "compares every file, unit and image by content before it acts, and checks digests again on the nodes",
        ),
        Contestant(
            "shell script",
            ("bash", str(floor), root),
            (FAILED,),
            {},
            "the floor: copies everything uncompressed every time, checks nothing, restarts nothing",
        ),
        Contestant(
            "ansible",
            (str(commands / "ansible-playbook"), str(PEERS / "ansible" / "site.yml")),
            ("--limit", FAILED),
            ansible_settings(ground),
            "roles per chapter; pipelining, forks=6, strategy free, no facts",
        ),
        Contestant(
            "pyinfra",
            (str(commands / "pyinfra"), "-y", "--no-wait", str(pyinfra / "inventory.py"), str(pyinfra / "site.py")),
            ("--limit", FAILED),
            {"BENCH_ROOT": root},
            "one deploy; --no-wait",
        ),
    )


def compete(ground: Ground, contestant: Contestant) -> Iterator[Sample]:
    """Measure one contestant on new machines: fresh, again, repair."""
    ground.renew()
    ground.write_inventories()
    render(ground)
    yield measure(FRESH, contestant.case(ground, limited=False))
    judge(ground, contestant.name)
    yield measure(AGAIN, contestant.case(ground, limited=False))
    ground.on(FAILED, BREAK)
    yield measure(REPAIR, contestant.case(ground, limited=True))
    ground.on(FAILED, "systemctl is-active --quiet kubelet && systemctl is-enabled --quiet kubelet")
    judge(ground, contestant.name)


def judge(ground: Ground, name: str) -> None:
    """Raise if this is no cluster: three nodes Ready, both replicas of CoreDNS."""
    nodes = ground.ask("get", "nodes", "--output=json")
    ready = sum(_is_ready(node["status"]["conditions"]) for node in json.loads(nodes)["items"])
    query = "--output=jsonpath={.status.readyReplicas}"
    replicas = ground.ask("--namespace=kube-system", "get", "deployment/coredns", query)
    if (ready, replicas) != (3, "2"):
        msg = f"{name} built no whole cluster: {ready} of 3 nodes Ready, {replicas or 0} of 2 replicas of CoreDNS"
        raise RuntimeError(msg)


def _is_ready(conditions: list[dict[str, str]]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
