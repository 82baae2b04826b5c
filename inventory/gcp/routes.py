"""Chapter 11: a route for each worker's pod CIDR, and the route table as the guide prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.inventory.gcp.kinds import NETWORK, ROUTE
from khw.inventory.gcp.messages import compute_v1
from khw.inventory.gcp.operations import last
from khw.inventory.gcp.wanted import Wanted, ensure, mark
from khw.inventory.provider import Route

if TYPE_CHECKING:
    from khw.cluster.model import Cluster, Node
    from khw.cluster.spec import Spec
    from khw.converge.changes import Change
    from khw.inventory.gcp.clients import Api, Message


def ensure_routes(api: Api, cluster: Cluster, *, check: bool) -> list[Change]:
    """Make the workers' routes, all at once."""
    return ensure(api, wanted(api, cluster), check=check)


def wanted(api: Api, cluster: Cluster) -> list[Wanted]:
    """Return all that chapter 11 makes."""
    return [_route(cluster.spec, api, node, node.pod_cidr) for node in cluster.workers if node.pod_cidr]


def _route(spec: Spec, api: Api, node: Node, pod_cidr: str) -> Wanted:
    message = compute_v1.Route(
        name=route_name(pod_cidr),
        description=mark(spec.name),
        network=api.link(NETWORK, spec.network.name),
        dest_range=pod_cidr,
        next_hop_ip=node.internal_ip,
        priority=1000,
    )
    return Wanted(kind=ROUTE, name=message.name, message=message, facets=_facets)


def route_name(pod_cidr: str) -> str:
    """Return the guide's name for the route to a pod CIDR: kubernetes-route-10-200-0-0-24."""
    return "kubernetes-route-" + pod_cidr.replace(".", "-").replace("/", "-")


def _facets(seen: Message) -> dict[str, str]:
    return {
        "dest-range": seen.dest_range,
        "next-hop": next_hop(seen),
        "network": last(seen.network),
        "priority": str(seen.priority),
        "description": seen.description,
    }


def table(api: Api, spec: Spec) -> list[Route]:
    """Return the network's routes, the default ones included."""
    return [
        Route(
            name=str(row.name),
            network=last(row.network),
            dest_range=str(row.dest_range),
            next_hop=next_hop(row),
            priority=int(row.priority),
        )
        for row in api.list(ROUTE)
        if last(row.network) == spec.network.name
    ]


def next_hop(row: Message) -> str:
    """Return a route's next hop as gcloud prints it: an address, a gateway, a machine or the network."""
    links = (row.next_hop_ip, row.next_hop_gateway, row.next_hop_instance, row.next_hop_network)
    return next((last(link) for link in links if link), "")
