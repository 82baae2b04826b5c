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
from benchmarks.distance import far_away
from benchmarks.ground import PEERS, ansible_settings, mitogen_settings
from benchmarks.kubeadm import render_kubeadm
from benchmarks.tree import FIRST, LAST, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.clock import Sample
    from benchmarks.ground import Ground

FRESH, AGAIN, REPAIR, WHOLE = "fresh", "again", "repair", "whole"
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
    render: Callable[[Ground], object] = render
    kubeconfig: str = ""  # of its administrator, below the ground's root; '' is khw's own
    whole: tuple[str, ...] = ()  # its command for all chapters, machines and smoke test included

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
            whole=(*ground.khw, "run"),
        ),
        Contestant(
            "shell script",
            ("bash", str(floor), root),
            (FAILED,),
            {},
            "the floor: copies everything uncompressed every time, checks nothing, restarts nothing",
        ),
        Contestant(
            "kubeadm",
            ("bash", str(PEERS / "kubeadm" / "run.sh"), root),
            (FAILED,),
            {},
            "driven by a shell script; static pods, certificates of its own (made within its time), kube-proxy and "
            "CoreDNS as its addons; no audit log; a host that has joined and whose kubelet runs is left alone",
            render=render_kubeadm,
            kubeconfig="kubeadm.kubeconfig",
        ),
        Contestant(
            "pyinfra",
            (str(commands / "pyinfra"), "-y", "--no-wait", str(pyinfra / "inventory.py"), str(pyinfra / "site.py")),
            ("--limit", FAILED),
            {"BENCH_ROOT": root},
            "one deploy; --no-wait",
        ),
        Contestant(
            "ansible + mitogen",
            (str(commands / "ansible-playbook"), str(PEERS / "ansible" / "site.yml")),
            ("--limit", FAILED),
            {**ansible_settings(ground), **mitogen_settings(commands), "ANSIBLE_STRATEGY": "mitogen_free"},
            "the same playbook with mitogen's strategy",
        ),
        Contestant(
            "ansible",
            (str(commands / "ansible-playbook"), str(PEERS / "ansible" / "site.yml")),
            ("--limit", FAILED),
            {**ansible_settings(ground), "ANSIBLE_STRATEGY": "free"},
            "roles per chapter; pipelining, forks=6, strategy free, no facts",
        ),
    )


@dataclass(frozen=True, slots=True)
class Distances:
    """Round trips in milliseconds: at which the cluster is made, and at which it is then run again and repaired."""

    fresh: int
    later: Sequence[int]


def compete(ground: Ground, contestant: Contestant, distances: Distances) -> Iterator[Sample]:
    """Measure one contestant on new machines: fresh, then at each distance again and repair, then all chapters."""
    ground.renew()
    ground.cut_connections()
    ground.write_inventories()
    contestant.render(ground)
    everything = contestant.case(ground, limited=False)
    with far_away(ground.addresses(), distances.fresh):
        fresh = measure(FRESH, everything, distances.fresh)
    judge(ground, contestant)
    yield fresh
    for round_trip in distances.later:
        ground.cut_connections()
        with far_away(ground.addresses(), round_trip):
            yield measure(AGAIN, everything, round_trip)
        ground.on(FAILED, BREAK)
        ground.cut_connections()
        with far_away(ground.addresses(), round_trip):
            repair = measure(REPAIR, contestant.case(ground, limited=True), round_trip)
        ground.on(FAILED, "systemctl is-active --quiet kubelet && systemctl is-enabled --quiet kubelet")
        judge(ground, contestant)
        yield repair
    if contestant.whole and distances.later:
        yield from _whole(ground, contestant, distances.later)


def _whole(ground: Ground, contestant: Contestant, distances: Sequence[int]) -> Iterator[Sample]:
    """Measure a run of every chapter that changes nothing, after one that did what was left."""
    case = Case(name=contestant.name, command=contestant.whole, directory=ground.root)
    measure("warm-up", case)
    for round_trip in distances:
        with far_away(ground.addresses(), round_trip):
            yield measure(WHOLE, case, round_trip)


def judge(ground: Ground, contestant: Contestant) -> None:
    """Raise if this is no cluster: the workers Ready (kubeadm's controllers, without CNI, never are), and CoreDNS."""
    nodes = ground.ask(contestant.kubeconfig, "get", "nodes", "--output=json")
    ready = sum(_is_ready(node["status"]["conditions"]) for node in json.loads(nodes)["items"])
    query = "--output=jsonpath={.status.readyReplicas}"
    replicas = ground.ask(contestant.kubeconfig, "--namespace=kube-system", "get", "deployment/coredns", query)
    if (ready, replicas) != (3, "2"):
        msg = f"{contestant.name}: {ready} of 3 workers Ready, {replicas or 0} of 2 replicas of CoreDNS"
        raise RuntimeError(msg)


def _is_ready(conditions: list[dict[str, str]]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
