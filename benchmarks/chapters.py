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
from benchmarks.distance import DISTANCES, far_away
from benchmarks.ground import PEERS, ansible_settings, mitogen_settings
from benchmarks.kubeadm import render_kubeadm
from benchmarks.tree import FIRST, LAST, render
from khw.verify.bench import LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from benchmarks.clock import Sample
    from benchmarks.ground import Ground

FRESH, AGAIN, REPAIR, WHOLE = "fresh", "again", "repair", "whole"
MEASUREMENTS = (FRESH, AGAIN, REPAIR)
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


def compete(ground: Ground, contestant: Contestant, round_trip: int) -> Iterator[Sample]:
    """Measure one contestant on new machines, that far away: fresh, again, repair; khw's whole run at each distance."""
    ground.renew()
    ground.write_inventories()
    contestant.render(ground)
    everything = contestant.case(ground, limited=False)
    fresh = _measure(ground, FRESH, everything, round_trip)
    judge(ground, contestant)
    yield fresh
    yield _measure(ground, AGAIN, everything, round_trip)
    ground.on(FAILED, BREAK)
    repair = _measure(ground, REPAIR, contestant.case(ground, limited=True), round_trip)
    ground.on(FAILED, "systemctl is-active --quiet kubelet && systemctl is-enabled --quiet kubelet")
    judge(ground, contestant)
    yield repair
    if contestant.whole and not round_trip:
        yield from _whole(ground, contestant)


def _measure(ground: Ground, measurement: str, case: Case, round_trip: int) -> Sample:
    ground.cut_connections()
    with far_away(ground.addresses(), round_trip):
        return measure(measurement, case, round_trip)


def _whole(ground: Ground, contestant: Contestant) -> Iterator[Sample]:
    """
    Measure a run of every chapter that changes nothing, after one that did what was left: its smoke test, too.

    What that made is taken away behind it, on the same two cores: the clock starts when it is gone.
    """
    case = Case(name=contestant.name, command=contestant.whole, directory=ground.root)
    measure("warm-up", case)
    ground.ask("", "wait", "--for=delete", "namespace", f"--selector={LABEL}", "--timeout=120s")
    for round_trip in DISTANCES:
        yield _measure(ground, WHOLE, case, round_trip)


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
