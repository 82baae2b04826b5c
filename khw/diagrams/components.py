"""What runs on each node (chapters 7 to 9 and 12), with its version, and how systemd says it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.artifacts import lock
from khw.cluster.edges import KUBELET_PORT, LOCAL_SERVERS
from khw.cluster.observed import units_on
from khw.cluster.spec import Role
from khw.diagrams.layout import Column, Frame, Leaf, Row
from khw.diagrams.picture import Box, Kind, Link, Picture
from khw.tasks.etcd import CLIENT_PORT, PEER_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from khw.cluster.model import Cluster, Node
    from khw.cluster.observed import Observed
    from khw.diagrams.layout import Part

ACROSS = 3  # nodes in a row
ACTIVE, UNKNOWN = "active", "unknown"

CONTROL = frozenset({Role.CONTROLLER, Role.ETCD})
WORKERS = frozenset({Role.WORKER})


def picture(seen: Observed) -> Picture:
    """Return the nodes with their units."""
    cluster = seen.cluster
    boxes = [
        Box(id="balancer", title="Load balancer", lines=(cluster.api_url,), kind=Kind.BALANCER),
        Box(id="control", title="Control plane", kind=Kind.NETWORK),
        Box(id="workers", title="Workers", kind=Kind.NETWORK),
    ]
    for node in cluster.nodes:
        boxes += _node(seen, node)
    links = [
        Link(source="balancer", target="control", label=f"to whoever is ready, {cluster.network.api_port}"),
        Link(source="workers", target="balancer", label="kubelets and kube-proxies ask the API"),
    ]
    return Picture(
        name="components",
        title=f"{cluster.name}: components on each node",
        description=_described(seen),
        boxes=tuple(boxes),
        links=tuple(links) if _of(cluster, WORKERS) else tuple(links[:1]),
    )


def arrangement(seen: Observed) -> Part:
    """Return how it is laid out: controllers above, the load balancer between, workers below."""
    cluster = seen.cluster
    parts: list[Part] = [Frame("control", _grid(_of(cluster, CONTROL))), Leaf("balancer")]
    workers = _of(cluster, WORKERS)
    parts.append(Frame("workers", _grid(workers)) if workers else Leaf("workers"))
    return Column(tuple(parts), gap=46)


def _of(cluster: Cluster, roles: frozenset[Role]) -> tuple[Node, ...]:
    """Return the nodes of a frame: those that are several things stand with the control plane."""
    return tuple(node for node in cluster.nodes if node.role in roles)


def _grid(nodes: Sequence[Node]) -> Part:
    rows = [nodes[start : start + ACROSS] for start in range(0, len(nodes), ACROSS)]
    return Column(tuple(Row(tuple(_frame(node) for node in row)) for row in rows))


def _frame(node: Node) -> Frame:
    return Frame(node.name, Column(tuple(Leaf(_id(node, u)) for u in units_on(node)), gap=8, align="stretch"))


def _node(seen: Observed, node: Node) -> Iterator[Box]:
    facts = seen.facts.get(node.name)
    system = (
        (f"{facts.distribution} {facts.release}, {facts.kernel.split('-')[0]}, {facts.architecture}",) if facts else ()
    )
    silent = seen.silent.get(node.name, "")
    lines = (node.internal_ip, *system, *(("does not answer",) if silent else ()))
    control = node.role in CONTROL
    parent = "control" if control else "workers"
    kind = Kind.FAILED if silent else Kind.CONTROLLER if control else Kind.WORKER
    yield Box(id=node.name, title=node.name, lines=lines, kind=kind, parent=parent, note=silent)
    for unit in units_on(node):
        state = seen.state(node.name, unit)
        kinds = {ACTIVE: Kind.COMPONENT, UNKNOWN: Kind.UNKNOWN}
        yield Box(
            id=_id(node, unit),
            title=f"{unit} {_version(unit)}",
            lines=(f"{_sign(state)} {state}, {_ports(seen, unit)}",),
            kind=kinds.get(state, Kind.FAILED),
            parent=node.name,
            note=f"{unit}.service on {node.name} is {state}",
        )


def _id(node: Node, unit: str) -> str:
    return f"{node.name} {unit}"


def _sign(state: str) -> str:
    return {ACTIVE: "✓", UNKNOWN: "?"}.get(state, "✗")


def _version(unit: str) -> str:
    return lock.entry(unit).version


def _ports(seen: Observed, unit: str) -> str:
    ports = {
        "kube-apiserver": f"port {seen.cluster.network.api_port}",
        "etcd": f"ports {CLIENT_PORT}, {PEER_PORT}",
        "kubelet": f"port {KUBELET_PORT}",
        "kube-proxy": f"{seen.cluster.spec.proxy.mode} rules",
        "containerd": f"runc {_version('runc')}",
    }
    return ports.get(unit) or f"port {LOCAL_SERVERS[unit]}, this host only"


def _described(seen: Observed) -> str:
    rows = (f"{n.name}: " + ", ".join(f"{u} {seen.state(n.name, u)}" for u in units_on(n)) for n in seen.cluster.nodes)
    return "; ".join(rows) + "."
