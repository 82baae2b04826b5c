"""The machines and their network (chapters 3, 8 and 11): VPC, subnet, addresses, load balancer, routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.cluster.spec import Role
from khw.diagrams.layout import Column, Frame, Leaf, Row, text_size
from khw.diagrams.picture import Box, Kind, Line, Link, Picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from khw.cluster.model import Node
    from khw.cluster.observed import Observed
    from khw.diagrams.layout import Part
    from khw.inventory.provider import FirewallRule

ACROSS = 4  # machines in a row
SHOWN = 3  # ranges of a firewall rule


def picture(seen: Observed) -> Picture:
    """Return what is there, machine by machine."""
    cluster = seen.cluster
    network = cluster.network
    ours = cluster.spec.provider == "static"  # of the user's own network nothing is known
    routes = {route.next_hop: route for route in seen.routes}
    others = [route for route in seen.routes if route.next_hop not in {node.internal_ip for node in cluster.nodes}]
    boxes = [
        Box(id="operator", title="You", lines=("khw, kubectl",), kind=Kind.OUTSIDE),
        Box(
            id="balancer",
            title="Load balancer",
            lines=(
                f"{cluster.api_address}:{cluster.spec.api_port}",
                *(() if ours else ("asks each API server /readyz",)),
            ),
            kind=Kind.BALANCER,
            note="Passes TCP on to the API servers that are ready; it decrypts nothing.",
        ),
        Box(
            id="vpc",
            title="your own network" if ours else f"VPC {network.name}",
            lines=(f"pods {network.cluster_cidr}, Services {network.service_cidr}",),
            kind=Kind.NETWORK,
            foot=True,
        ),
        Box(
            id="subnet",
            title="machines" if ours else f"subnet {network.subnet}, {network.subnet_cidr}",
            kind=Kind.NETWORK,
            parent="vpc",
            foot=True,
        ),
        *(_machine(node) for node in cluster.nodes),
        *_pods(seen),
    ]
    links = [
        Link(source="operator", target="balancer", label=f"https, {cluster.spec.api_port}"),
        *(Link(source="balancer", target=node.name) for node in cluster.controllers),
    ]
    for node in cluster.workers:
        route = routes.get(node.internal_ip)
        if node.pod_cidr:
            label = "route" if route else "no route" if seen.routes else ""
            note = f"{route.name}: {route.dest_range} to {route.next_hop}" if route else label
            links.append(Link(source=node.name, target=f"pods {node.name}", label=label, kind=Line.ROUTE, note=note))
    if others:
        lines = tuple(f"{route.dest_range} → {route.next_hop}" for route in others)
        boxes.append(Box(id="routes", title="other routes", lines=lines, kind=Kind.ROUTE, parent="vpc"))
    door = next((node.bastion for node in cluster.nodes if node.bastion), "")
    if door:
        boxes += _ways(cluster.spec.bastion_name, door, cluster.nat_address)
        links.append(Link(source="operator", target="bastion", label="ssh"))
    if seen.firewall:
        lines = tuple(_rule(rule, network.name) for rule in seen.firewall)
        boxes.append(Box(id="firewall", title="firewall", lines=lines, kind=Kind.FIREWALL, parent="vpc"))
    return Picture(
        name="network",
        title=f"{cluster.name}: machines and network",
        description=_described(seen),
        boxes=tuple(boxes),
        links=tuple(links),
    )


def arrangement(seen: Observed) -> Part:
    """Return how it is laid out: who asks above, controllers under the load balancer, workers over their pods."""
    cluster = seen.cluster
    shown = picture(seen)
    least = max((text_size(box)[0] for box in shown.inside("subnet")), default=0.0)
    machines = Column(
        (
            *(_upper(some, least) for some in _rows([n for n in cluster.nodes if n.role is not Role.WORKER])),
            *(_workers(some, least) for some in _rows([n for n in cluster.nodes if n.role is Role.WORKER])),
        ),
        gap=34,
    )
    inside: list[Part] = [Frame("subnet", machines)]
    inside += [Leaf(box.id) for box in shown.inside("vpc") if box.id in {"routes", "firewall"}]
    private = "bastion" in {box.id for box in shown.boxes}
    edge: Part = (
        Row((Leaf("bastion"), Leaf("balancer"), Leaf("nat")), gap=28, even=False) if private else Leaf("balancer")
    )
    return Column(
        (Leaf("operator"), edge, Frame("vpc", Column(tuple(inside), gap=22))),
        gap=44,
    )


def _ways(name: str, address: str, nat: str | None) -> Iterator[Box]:
    """Give what leads into a network whose machines have no external address, and what leads out of it."""
    lines = (f"outside {address}", "leads SSH to the machines")
    yield Box(id="bastion", title=name, lines=lines, kind=Kind.BALANCER)
    lines = (f"outside {nat or '?'}", "leads the machines out")
    yield Box(id="nat", title="Cloud NAT", lines=lines, kind=Kind.BALANCER)


def _upper(nodes: Sequence[Node], least: float) -> Row:
    """Return a row of controllers; one with pods stands over them."""
    if any(node.pod_cidr for node in nodes):
        return _workers(nodes, least)
    return Row(tuple(Leaf(node.name, least) for node in nodes), gap=28)


def _workers(nodes: Sequence[Node], least: float) -> Row:
    return Row(tuple(_worker(node, least) for node in nodes), gap=28, even=False)


def _worker(node: Node, least: float) -> Part:
    parts = (Leaf(node.name, least), *((Leaf(f"pods {node.name}"),) if node.pod_cidr else ()))
    return Column(parts, gap=36, align="stretch")


def _rows(nodes: Sequence[Node]) -> Iterator[Sequence[Node]]:
    for start in range(0, len(nodes), ACROSS):
        yield nodes[start : start + ACROSS]


def _machine(node: Node) -> Box:
    outside = node.external_ip or "no external address"
    lines = (f"inside {node.internal_ip}", f"outside {outside}", *((f"zone {node.zone}",) if node.zone else ()))
    usual = Kind.WORKER if node.role is Role.WORKER else Kind.CONTROLLER
    kind = Kind.FAILED if node.unreachable else usual
    if node.unreachable:
        lines = (*lines, node.unreachable)
    return Box(id=node.name, title=node.name, lines=lines, kind=kind, parent="subnet", note=node.unreachable)


def _pods(seen: Observed) -> Iterator[Box]:
    hops = {(route.next_hop, route.dest_range) for route in seen.routes}
    for node in seen.cluster.workers:
        if node.pod_cidr:
            lost = seen.routes and (node.internal_ip, node.pod_cidr) not in hops
            lines = (node.pod_cidr, *(("no route leads here",) if lost else ()))
            kind = Kind.FAILED if lost else Kind.PODS
            yield Box(id=f"pods {node.name}", title=f"pods of {node.name}", lines=lines, kind=kind, parent="subnet")


def _rule(rule: FirewallRule, network: str) -> str:
    """Return a rule in a line, less the network's name before its own."""
    name = rule.name.removeprefix(f"{network}-")
    way = "to" if rule.leaving else "from"
    to = f", only {rule.machines}s" if rule.machines else ""
    return f"{name}: {'' if rule.action == 'allow' else rule.action + ' '}{rule.what} {way} {_first(rule.others)}{to}"


def _first(others: str) -> str:
    """Return the first few of what a rule lists; the table beside the picture has all."""
    rows = others.split(", ")
    return others if len(rows) <= SHOWN else f"{', '.join(rows[: SHOWN - 1])} and {len(rows) - SHOWN + 1} more"


def _described(seen: Observed) -> str:
    cluster = seen.cluster
    machines = "; ".join(f"{n.name} at {n.internal_ip}" for n in cluster.nodes)
    routes = "; ".join(f"{r.dest_range} to {r.next_hop}" for r in seen.routes)
    firewall = "; ".join(_rule(rule, cluster.network.name) for rule in seen.firewall)
    doors = {node.bastion for node in cluster.nodes if node.bastion}
    ways = "".join(f"The bastion at {door} leads SSH to them, Cloud NAT leads them out. " for door in sorted(doors))
    return (
        f"The VPC {cluster.network.name} with the subnet {cluster.network.subnet_cidr}. Machines: {machines}. {ways}"
        f"The load balancer at {cluster.api_url} stands before the controllers. Routes: {routes or 'none'}. "
        f"Firewall rules: {firewall or 'none'}."
    )
