"""
Nodes without external addresses: the bastion that leads in, and the Cloud NAT that leads out.

Why so: docs/decisions/0034-private-nodes.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.cluster.spec import BASTION_DISK_GB, BASTION_TYPE
from khw.inventory.gcp.kinds import ADDRESS, NETWORK, ROUTER
from khw.inventory.gcp.machine import CLUSTER_LABEL, Shape, instance
from khw.inventory.gcp.messages import compute_v1
from khw.inventory.gcp.operations import last
from khw.inventory.gcp.wanted import Wanted, mark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.cluster.spec import Spec
    from khw.inventory.gcp.clients import Api, Message

BASTION_ROLE = "bastion"  # its label and its network tag


def wanted(spec: Spec, api: Api, ssh_public_key: str) -> Iterator[Wanted]:
    """Return what there is beside the nodes, if they are private: nothing if they are not."""
    if not api.gcp.private_nodes:
        return
    yield _address(spec)
    yield _router(spec, api)
    bastion = Shape(
        name=spec.bastion_name,
        role=BASTION_ROLE,
        address=str(spec.bastion_address),
        machine_type=BASTION_TYPE,
        disk_gb=BASTION_DISK_GB,
        image=spec.controllers.image,
        tags=(BASTION_ROLE,),
        public=True,
        forwards=False,
    )
    yield instance(spec, api, bastion, api.gcp.places[0], ssh_public_key)


def nat_name(spec: Spec) -> str:
    """Return the name of NAT's address, and of the NAT in its router."""
    return f"{spec.network.name}-nat"


def router_name(spec: Spec) -> str:
    """Return the name of the Cloud Router that has the NAT."""
    return f"{spec.network.name}-router"


def _address(spec: Spec) -> Wanted:
    """Return the address: a reserved one, so that the firewall knows who the nodes are."""
    message = compute_v1.Address(name=nat_name(spec), description=mark(spec.name), address_type="EXTERNAL")
    return Wanted(
        kind=ADDRESS,
        name=message.name,
        message=message,
        facets=address_facets,
        follows=frozenset({"labels"}),
        labels={CLUSTER_LABEL: spec.name},
    )


def address_facets(seen: Message) -> dict[str, str]:
    """Return what matters of an address."""
    return {"type": seen.address_type or "EXTERNAL", "description": seen.description}


def _router(spec: Spec, api: Api) -> Wanted:
    nat = {
        "name": nat_name(spec),
        "nat_ip_allocate_option": "MANUAL_ONLY",
        "nat_ips": [api.link(ADDRESS, nat_name(spec))],
        "source_subnetwork_ip_ranges_to_nat": "ALL_SUBNETWORKS_ALL_IP_RANGES",
    }
    message = compute_v1.Router(
        name=router_name(spec),
        description=mark(spec.name),
        network=api.link(NETWORK, spec.network.name),
        nats=[nat],
    )
    needs = (f"{NETWORK.name}:{spec.network.name}", f"{ADDRESS.name}:{nat_name(spec)}")
    return Wanted(kind=ROUTER, name=message.name, message=message, facets=_router_facets, after=needs)


def _router_facets(seen: Message) -> dict[str, str]:
    nats = list(seen.nats)
    return {
        "network": last(seen.network),
        "nat": " ".join(sorted(str(nat.name) for nat in nats)),
        "nat-addresses": " ".join(sorted(last(link) for nat in nats for link in nat.nat_ips)),
        "nat-for": " ".join(sorted(str(nat.source_subnetwork_ip_ranges_to_nat) for nat in nats)),
        "description": seen.description,
    }
