"""Chapter 3: network, subnet, firewall rules, the static address and the machines."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from khw.cluster.model import Role
from khw.inventory.gcp.kinds import ADDRESS, FIREWALL, INSTANCE, NETWORK, SUBNET
from khw.inventory.gcp.messages import compute_v1
from khw.inventory.gcp.operations import last
from khw.inventory.gcp.sources import admits, source_ranges
from khw.inventory.gcp.wanted import Wanted, mark
from khw.inventory.gcp.zones import zones_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from khw.cluster.model import Planned, Spec
    from khw.inventory.gcp.clients import Api, Message

CLUSTER_LABEL = "khw-cluster"
ROLE_LABEL = "khw-role"


def wanted(spec: Spec, api: Api, ssh_public_key: str) -> list[Wanted]:
    """Return all that chapter 3 makes, in an order in which nothing precedes what it needs."""
    zones = zones_of(spec, api.gcp)
    return [
        _network(spec),
        _address(spec),
        _subnet(spec, api),
        *_firewalls(spec, api),
        *(instance(spec, api, machine, zones[machine.name], ssh_public_key) for machine in spec.planned),
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
        facets=_address_facets,
        follows=frozenset({"labels"}),
        labels={CLUSTER_LABEL: spec.name},
    )


def _address_facets(seen: Message) -> dict[str, str]:
    return {"type": seen.address_type or "EXTERNAL", "description": seen.description}


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
    ports = ["22", str(network.api_port)]
    facets = partial(_admitting_facets, outside) if network.source_ranges is None else None
    yield firewall(spec, api, "allow-internal", inside, [{"I_p_protocol": name} for name in ("tcp", "udp", "icmp")])
    yield firewall(
        spec,
        api,
        "allow-external",
        outside,
        [{"I_p_protocol": "tcp", "ports": ports}, {"I_p_protocol": "icmp"}],
        facets=facets,
    )
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


def firewall(  # noqa: PLR0913 (a rule is who, what and for whom; `spec` and `api` place it)
    spec: Spec,
    api: Api,
    suffix: str,
    sources: Sequence[str],
    allowed: Sequence[object],
    targets: Sequence[str] = (),
    facets: Callable[[Message], dict[str, str]] | None = None,
) -> Wanted:
    """
    Return a rule that lets `sources` in; `targets` are the tags of the machines that it is for (all if none).

    With `facets` of its own its sources are addresses that change by themselves, and are brought up to date.
    """
    message = compute_v1.Firewall(
        name=f"{spec.network.name}-{suffix}",
        description=mark(spec.name),
        network=api.link(NETWORK, spec.network.name),
        direction="INGRESS",
        priority=1000,
        source_ranges=list(sources),
        target_tags=list(targets),
        allowed=list(allowed),
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
    # gcloud writes a row for each port, khw one for each protocol
    allowed = {row.I_p_protocol + (f":{port}" if port else "") for row in seen.allowed for port in row.ports or ("",)}
    return {
        "allowed": " ".join(sorted(allowed)),
        "denied": " ".join(sorted(row.I_p_protocol for row in seen.denied)),
        "sources": " ".join(sorted(seen.source_ranges)),
        "targets": " ".join(sorted(seen.target_tags)),
        "direction": seen.direction,
        "priority": str(seen.priority),
        "disabled": "yes" if seen.disabled else "",
        "network": last(seen.network),
        "description": seen.description,
    }


def instance(spec: Spec, api: Api, machine: Planned, zone: str, ssh_public_key: str) -> Wanted:
    """Return a machine, with everything that discovery later reads: labels, pod-cidr, guest attributes."""
    pool = spec.controllers if machine.role is Role.CONTROLLER else spec.workers
    alone = machine.role is Role.CONTROLLER and Role.WORKER in machine.roles  # firewall rules go by tags
    metadata = {
        "enable-guest-attributes": "TRUE",  # the machine publishes its SSH host keys there
        "enable-oslogin": "FALSE",  # with OS Login the agent would ignore ssh-keys
        "ssh-keys": f"{spec.ssh.user}:{ssh_public_key} {spec.ssh.user}",
    }
    if machine.pod_cidr:
        metadata["pod-cidr"] = str(machine.pod_cidr)
    message = compute_v1.Instance(
        name=machine.name,
        description=mark(spec.name),
        machine_type=f"projects/{api.gcp.project}/zones/{zone}/machineTypes/{pool.machine_type}",
        can_ip_forward=True,
        tags={"items": [spec.network.name, machine.role.value, *(["worker"] if alone else [])]},
        labels={CLUSTER_LABEL: spec.name, ROLE_LABEL: machine.role.value},
        metadata={"items": [{"key": key, "value": value} for key, value in sorted(metadata.items())]},
        disks=[
            {
                "boot": True,
                "auto_delete": True,
                "initialize_params": {
                    "disk_size_gb": pool.disk_gb,
                    "source_image": machine.image,
                    "labels": {CLUSTER_LABEL: spec.name},
                },
            }
        ],
        network_interfaces=[
            {
                "network": api.link(NETWORK, spec.network.name),
                "subnetwork": api.link(SUBNET, spec.network.subnet),
                "network_i_p": str(machine.address),
                "access_configs": [{"type_": "ONE_TO_ONE_NAT", "name": "External NAT"}],
            }
        ],
    )
    return Wanted(
        kind=INSTANCE,
        name=machine.name,
        message=message,
        facets=lambda seen: _instance_facets(seen, message),
        zone=zone,
        after=(f"{SUBNET.name}:{spec.network.subnet}",),
    )


def _instance_facets(seen: Message, ours: Message) -> dict[str, str]:
    """Return what khw decides about a machine; tags, labels and metadata of others are theirs."""
    theirs = metadata_of(seen)
    first = next(iter(seen.network_interfaces), compute_v1.NetworkInterface())
    facets = {
        "address": first.network_i_p,
        "machine-type": last(seen.machine_type),
        "subnet": last(first.subnetwork),
        "external-address": "yes" if first.access_configs else "no",
        "can-ip-forward": "yes" if seen.can_ip_forward else "no",
        "tags": " ".join(sorted(set(seen.tags.items) & set(ours.tags.items))),
        "labels": " ".join(f"{key}={seen.labels[key]}" for key in sorted(ours.labels) if key in seen.labels),
    }
    for key, value in metadata_of(ours).items():
        if key == "ssh-keys":
            facets["ssh-key"] = "khw's" if value in theirs.get(key, "").splitlines() else "not khw's"
        else:
            facets[key] = theirs.get(key, "")
    return facets


def metadata_of(instance: Message) -> dict[str, str]:
    """Return an instance's metadata as a mapping."""
    return {str(item.key): str(item.value) for item in instance.metadata.items}
