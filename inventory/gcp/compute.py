"""Chapter 3: network, subnet, firewall rules, the static address and the machines."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from khw.cluster.spec import Role
from khw.inventory.gcp import private
from khw.inventory.gcp.kinds import ADDRESS, FIREWALL, NETWORK, SUBNET
from khw.inventory.gcp.machine import CLUSTER_LABEL, Shape, instance
from khw.inventory.gcp.messages import compute_v1
from khw.inventory.gcp.operations import last
from khw.inventory.gcp.sources import WORLD, admits, source_ranges
from khw.inventory.gcp.wanted import Wanted, mark
from khw.inventory.gcp.zones import zones_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from khw.cluster.spec import Planned, Spec
    from khw.inventory.gcp.clients import Api, Message


def wanted(spec: Spec, api: Api, ssh_public_key: str) -> list[Wanted]:
    """Return all that chapter 3 makes, in an order in which nothing precedes what it needs."""
    zones = zones_of(spec, api.gcp)
    return [
        _network(spec),
        _address(spec),
        _subnet(spec, api),
        *_firewalls(spec, api),
        *private.wanted(spec, api, ssh_public_key),
        *(_node(spec, api, machine, zones[machine.name], ssh_public_key) for machine in spec.planned),
    ]


def _network(spec: Spec) -> Wanted:
    message = compute_v1.Network(
        name=spec.network.name,
        description=mark(spec.name),
        auto_create_subnetworks=False,
        routing_config={"routing_mode": "REGIONAL"},
    )
    return Wanted(kind=NETWORK, name=spec.network.name, message=message, facets=_network_facets)


def _network_facets(seen: Message) -> dict[str, str]:
    return {"mode": "auto" if seen.auto_create_subnetworks else "custom", "description": seen.description}


def _address(spec: Spec) -> Wanted:
    message = compute_v1.Address(
        name=spec.network.name,
        description=mark(spec.name),
        address_type="EXTERNAL",
    )
    return Wanted(
        kind=ADDRESS,
        name=spec.network.name,
        message=message,
        facets=private.address_facets,
        follows=frozenset({"labels"}),
        labels={CLUSTER_LABEL: spec.name},
    )


def _subnet(spec: Spec, api: Api) -> Wanted:
    message = compute_v1.Subnetwork(
        name=spec.network.subnet,
        description=mark(spec.name),
        network=api.link(NETWORK, spec.network.name),
        ip_cidr_range=str(spec.network.subnet_cidr),
    )
    return Wanted(
        kind=SUBNET,
        name=spec.network.subnet,
        message=message,
        facets=_subnet_facets,
        after=(f"{NETWORK.name}:{spec.network.name}",),
    )


def _subnet_facets(seen: Message) -> dict[str, str]:
    return {"range": seen.ip_cidr_range, "network": last(seen.network), "description": seen.description}


def _firewalls(spec: Spec, api: Api) -> Iterator[Wanted]:
    network = spec.network
    inside = (str(network.subnet_cidr), str(network.cluster_cidr))
    outside = source_ranges(spec, api.gcp)
    facets = partial(_admitting_facets, outside) if network.source_ranges is None else None
    api_port = str(network.api_port)
    yield firewall(spec, api, "allow-internal", inside, [{"I_p_protocol": name} for name in ("tcp", "udp", "icmp")])
    if api.gcp.private_nodes:
        traffic = [{"I_p_protocol": "tcp", "ports": [api_port]}]
        controllers = (Role.CONTROLLER.value,)
        yield firewall(spec, api, "allow-external", outside, traffic, targets=controllers, facets=facets)
        yield from _ssh_by_bastion(spec, api, outside, facets)
        return  # NodePorts are at the nodes' addresses, which nobody outside can reach
    both = {"I_p_protocol": "tcp", "ports": ["22", api_port]}
    yield firewall(spec, api, "allow-external", outside, [both, {"I_p_protocol": "icmp"}], facets=facets)
    # Chapter 13's NodePorts; the guide makes a rule by hand for the one port that it got.
    yield firewall(
        spec,
        api,
        "allow-nodeports",
        outside,
        [{"I_p_protocol": "tcp", "ports": [network.node_ports]}],
        targets=(Role.WORKER.value,),
        facets=facets,
    )


def _ssh_by_bastion(
    spec: Spec, api: Api, outside: Sequence[str], facets: Callable[[Message], dict[str, str]] | None
) -> Iterator[Wanted]:
    """Let the operator's SSH to the bastion alone, and the bastion's alone to the nodes: before allow-internal."""
    ssh = [{"I_p_protocol": "tcp", "ports": ["22"]}]
    nodes = tuple(role.value for role, pool in spec.pools.items() if pool.count or role is Role.WORKER)
    yield firewall(spec, api, "allow-ssh", outside, ssh, targets=(private.BASTION_ROLE,), facets=facets)
    bastion = f"{spec.bastion_address}/32"
    yield firewall(spec, api, "allow-bastion", [bastion], ssh, targets=nodes, priority=800)
    yield firewall(spec, api, "deny-ssh", [WORLD], ssh, targets=nodes, priority=900, deny=True)


def firewall(  # noqa: PLR0913 (a rule is who, what and for whom; `spec` and `api` place it)
    spec: Spec,
    api: Api,
    suffix: str,
    sources: Sequence[str],
    traffic: Sequence[object],
    targets: Sequence[str] = (),
    facets: Callable[[Message], dict[str, str]] | None = None,
    priority: int = 1000,
    deny: bool = False,
) -> Wanted:
    """
    Return a rule that lets `sources` in, or with `deny` keeps them out.

    `targets` are the tags of the machines that it is for (all if none).

    With `facets` of its own its sources are addresses that change by themselves, and are brought up to date.
    """
    message = compute_v1.Firewall(
        name=f"{spec.network.name}-{suffix}",
        description=mark(spec.name),
        network=api.link(NETWORK, spec.network.name),
        direction="INGRESS",
        priority=priority,
        source_ranges=list(sources),
        target_tags=list(targets),
        **{"denied" if deny else "allowed": list(traffic)},
    )
    return Wanted(
        kind=FIREWALL,
        name=message.name,
        message=message,
        facets=facets or firewall_facets,
        after=(f"{NETWORK.name}:{spec.network.name}",),
        follows=frozenset({"sources"} if facets else ()),
    )


def _admitting_facets(sources: Sequence[str], seen: Message) -> dict[str, str]:
    """Take a rule for right that lets `sources` in, and others beside them (a second operator), but not the world."""
    facets = firewall_facets(seen)
    return {**facets, "sources": " ".join(sorted(sources))} if admits(seen.source_ranges, sources) else facets


def firewall_facets(seen: Message) -> dict[str, str]:
    """Return what matters of a rule: all of it."""
    return {
        "allowed": _traffic(seen.allowed),
        "denied": _traffic(seen.denied),
        "sources": " ".join(sorted(seen.source_ranges)),
        "targets": " ".join(sorted(seen.target_tags)),
        "direction": seen.direction,
        "priority": str(seen.priority),
        "disabled": "yes" if seen.disabled else "",
        "network": last(seen.network),
        "description": seen.description,
    }


def _traffic(rows: Sequence[Message]) -> str:
    """Return protocols and ports; gcloud writes a row for each port, khw one for each protocol."""
    return " ".join(
        sorted({row.I_p_protocol + (f":{port}" if port else "") for row in rows for port in row.ports or ("",)})
    )


def _node(spec: Spec, api: Api, machine: Planned, zone: str, ssh_public_key: str) -> Wanted:
    """Return a node."""
    pool = spec.pools[machine.role]
    alone = machine.role is Role.CONTROLLER and Role.WORKER in machine.roles  # firewall rules go by tags
    shape = Shape(
        name=machine.name,
        role=machine.role.value,
        address=str(machine.address),
        machine_type=pool.machine_type,
        disk_gb=pool.disk_gb,
        image=machine.image,
        tags=(machine.role.value, *((Role.WORKER.value,) if alone else ())),
        public=not api.gcp.private_nodes,
        forwards=True,
        metadata={"pod-cidr": str(machine.pod_cidr)} if machine.pod_cidr else {},
    )
    return instance(spec, api, shape, zone, ssh_public_key)
