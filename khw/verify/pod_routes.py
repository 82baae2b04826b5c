"""
Chapter 11 on machines of one's own: each has the routes that its table of khw's has, and nothing else leads to pods.

What is compared is what the kernel has (`ip route`), not the file that it once came from: that is the check `file`.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from khw.cluster.spec import Role
from khw.errors import KhwError
from khw.inventory.provider import Route
from khw.ssh.connection import RemoteCommand
from khw.tasks.pod_routes import PROTOCOL, wanted
from khw.verify.check import Finding, last_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from khw.cluster.model import Cluster, Node
    from khw.ssh.connection import Completed
    from khw.verify.context import Context

SHOW = RemoteCommand(("ip", "-4", "-N", "-json", "route", "show", "table", "main"))  # -N: protocols as numbers
KERNEL = "2"  # the protocol of routes to the machine's own networks, its own pods' bridge among them
BOOT = "3"  # typed by hand; the one that `ip` leaves out
SECONDS = 20.0  # for a node to say its routes

State: TypeAlias = Literal["ok", "missing", "wrong", "extra"]


@dataclass(frozen=True, slots=True)
class NodeRoute:
    """A range of pods on a node: by whom it goes ('': no route), by whom it should ('': there should be no route)."""

    node: str
    dest_range: str
    next_hop: str
    expected: str
    protocol: str = str(PROTOCOL)

    @property
    def state(self) -> State:
        """Which of the four it is."""
        if not self.expected:
            return "extra"
        if not self.next_hop:
            return "missing"
        return "ok" if self.next_hop == self.expected else "wrong"

    @property
    def ours(self) -> bool:
        """Whether it has khw's protocol number, so that khw takes it away where it should not be."""
        return self.protocol == str(PROTOCOL)

    def __str__(self) -> str:
        by = f"{self.dest_range} by {self.next_hop or self.expected}"
        whose = "" if self.ours else f" (protocol {self.protocol}: not khw's)"
        return f"{by} instead of {self.expected}{whose}" if self.state == "wrong" else f"{by}{whose}"


def compared(node: Node, cluster: Cluster, shown: str) -> Iterator[NodeRoute]:
    """
    Compare what `ip` showed with the node's table: khw's own routes, and whatever else leads into the cluster CIDR.

    Where several lead to one range, the one of the lowest metric counts; ours have none, which is the lowest.
    """
    there = [row for row in json.loads(shown or "[]") if _is_about_pods(row, cluster.network.cluster_cidr)]
    should = wanted(node, cluster)
    for pods, hop in should.items():
        rows = [row for row in there if row["dst"] == pods]
        best = min(rows, key=lambda row: int(row.get("metric", 0)), default=None)
        if best is None:
            yield NodeRoute(node.name, pods, "", hop)
        else:
            yield NodeRoute(node.name, pods, _hop(best), hop, _protocol(best))
    for row in there:
        if row["dst"] not in should:
            yield NodeRoute(node.name, row["dst"], _hop(row), "", _protocol(row))


def ask(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask for the machine's routes."""
    return (SHOW,)


def judge(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Expect a route to every other worker's pods, by way of that worker, and none else into the cluster CIDR."""
    (answer,) = answers
    should = wanted(node, context.cluster)
    expected = f"{len(should)} to other workers' pods, each by its worker" if should else "none: no other has pods"
    if answer.code:
        yield Finding(ok=False, expected=expected, actual=last_line(answer))
        return
    rows = list(compared(node, context.cluster, answer.out))
    bad = [row for row in rows if row.state != "ok"]
    seen = (
        f"{state}: {', '.join(str(row) for row in bad if row.state == state)}"
        for state in ("missing", "wrong", "extra")
        if any(row.state == state for row in bad)
    )
    yield Finding(
        ok=not bad,
        expected=expected,
        actual="; ".join(seen) or "they are there",
        hint=_way_out(node, bad),
        command=f"khw ssh {node.name} ip route show proto {PROTOCOL}",
    )


def look(context: Context) -> tuple[list[NodeRoute], dict[str, str]]:
    """Ask every node that has routes, all at once; return what each has and should have, and why others did not say."""
    routed = [node for node in context.cluster.nodes if Role.ROUTED in node.roles]
    silent = {node.name: context.unreachable[node.name] for node in routed if node.name in context.unreachable}
    asked = [node for node in routed if node.name in context.agents]

    def rows(node: Node) -> list[NodeRoute]:
        try:
            (answer,) = context.agents[node.name].run(SHOW, timeout=SECONDS)
        except KhwError as error:
            silent[node.name] = error.message
            return []
        if answer.code:
            silent[node.name] = last_line(answer)
            return []
        return list(compared(node, context.cluster, answer.out))

    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        return [row for found in pool.map(rows, asked) for row in found], silent


def as_one(cluster: Cluster, found: Sequence[NodeRoute]) -> Iterator[Route]:
    """Yield as one table what the machines have, as a cloud's network would: a route that any lacks is not in it."""
    for worker in cluster.workers:
        rows = [row for row in found if row.dest_range == worker.pod_cidr and row.expected]
        if rows and all(row.state == "ok" for row in rows):
            name = f"on {len(rows)} machine{'s' if len(rows) > 1 else ''}"
            yield Route(name, cluster.name, str(worker.pod_cidr), worker.internal_ip, 0)
    for row in found:
        if row.state in {"wrong", "extra"}:
            yield Route(f"on {row.node}, {row.state}", cluster.name, row.dest_range, row.next_hop, 0)


def _way_out(node: Node, bad: Sequence[NodeRoute]) -> str:
    """Say how they come back; of others' routes khw takes none away but those in the place of its own."""
    others = [row.dest_range for row in bad if row.state == "extra" and not row.ours]
    ways = [f"sudo ip route del {dest} on {node.name}, and find out what put it there" for dest in others]
    if len(others) < len(bad):
        ways.insert(0, f"khw run --phase routes --limit {node.name}")
    return "; ".join([*ways, "khw routes"])


def _is_about_pods(row: dict[str, Any], cluster_cidr: IPv4Network) -> bool:
    if _protocol(row) == str(PROTOCOL):
        return True
    if _protocol(row) == KERNEL or row["dst"] == "default":
        return False
    return IPv4Network(row["dst"]).subnet_of(cluster_cidr)


def _protocol(row: dict[str, Any]) -> str:
    return str(row.get("protocol", BOOT))


def _hop(row: dict[str, Any]) -> str:
    """Return a route's gateway; its interface where it has none, its kind where it leads nowhere (blackhole)."""
    return str(row.get("gateway") or row.get("dev") or row.get("type", "?"))
