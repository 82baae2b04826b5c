"""A cluster as it is found at one moment: machines, routes, and the units on each. What the pictures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from khw.cluster.spec import Role
from khw.errors import KhwError
from khw.ssh.connection import RemoteCommand
from khw.verify.units import parse_show

if TYPE_CHECKING:
    from khw.certs.survey import Held
    from khw.cluster.model import Cluster, Facts, Node
    from khw.inventory.provider import FirewallRule, Route
    from khw.ssh.connection import Agent

UNITS: Mapping[Role, tuple[str, ...]] = {
    Role.CONTROLLER: ("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
    Role.ETCD: ("etcd",),
    Role.WORKER: ("kubelet", "kube-proxy", "containerd"),
}
"""What runs on a node of each role (chapters 7 to 9)."""
SECONDS = 20.0  # for a node to say what it runs


@dataclass(frozen=True, kw_only=True)
class Observed:
    """
    What was seen.

    `units` says of each node that answered, and each of its units, what systemd calls it ('active'); `silent` says of
    every other node why it did not answer.
    """

    cluster: Cluster
    at: datetime
    routes: tuple[Route, ...] = ()
    firewall: tuple[FirewallRule, ...] = ()
    units: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    facts: Mapping[str, Facts] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)
    certificates: tuple[Held, ...] = ()

    def state(self, node: str, unit: str) -> str:
        """Return a unit's state; 'unknown' where its node did not answer."""
        return self.units.get(node, {}).get(unit, "unknown")


def units_on(node: Node) -> tuple[str, ...]:
    """Return what runs on this node."""
    return tuple(unit for role, units in UNITS.items() if role in node.roles for unit in units)


def units_of(cluster: Cluster, agents: Mapping[str, Agent]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Ask every node for the state of its units, all at once; return them by node, and why others did not say."""
    seen: dict[str, dict[str, str]] = {}
    silent: dict[str, str] = {}
    asked = [node for node in cluster.nodes if node.name in agents]

    def ask(name: str, units: tuple[str, ...]) -> None:
        names = [f"{unit}.service" for unit in units]
        command = RemoteCommand(("systemctl", "show", "--property=Id,ActiveState", *names))
        try:
            (answer,) = agents[name].run(command, timeout=SECONDS)
        except KhwError as error:
            silent[name] = error.message
            return
        states = parse_show(answer.out)
        seen[name] = {unit: states.get(f"{unit}.service", {}).get("ActiveState", "unknown") for unit in units}

    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        list(pool.map(lambda node: ask(node.name, units_on(node)), asked))
    return seen, silent
