"""An instance as khw makes it, node or bastion, and what of it is compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from khw.inventory.gcp.kinds import INSTANCE, NETWORK, SUBNET
from khw.inventory.gcp.messages import compute_v1
from khw.inventory.gcp.operations import last
from khw.inventory.gcp.wanted import Wanted, mark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from khw.cluster.spec import Spec
    from khw.inventory.gcp.clients import Api, Message

CLUSTER_LABEL = "khw-cluster"
ROLE_LABEL = "khw-role"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What an instance is to be; `role` is its label, `public` whether it gets an external address."""

    name: str
    role: str
    address: str
    machine_type: str
    disk_gb: int
    image: str
    tags: tuple[str, ...]
    public: bool
    forwards: bool  # sends and takes packets of other addresses than its own: its pods'
    metadata: Mapping[str, str] = field(default_factory=dict)


def instance(spec: Spec, api: Api, shape: Shape, zone: str, ssh_public_key: str) -> Wanted:
    """Return it, with everything that discovery later reads: labels, metadata, guest attributes."""
    metadata = {
        "enable-guest-attributes": "TRUE",  # the machine publishes its SSH host keys there
        "enable-oslogin": "FALSE",  # with OS Login the agent would ignore ssh-keys
        "ssh-keys": f"{spec.ssh.user}:{ssh_public_key} {spec.ssh.user}",
        **shape.metadata,
    }
    interface: dict[str, object] = {
        "network": api.link(NETWORK, spec.network.name),
        "subnetwork": api.link(SUBNET, spec.network.subnet),
        "network_i_p": shape.address,
    }
    if shape.public:
        interface["access_configs"] = [{"type_": "ONE_TO_ONE_NAT", "name": "External NAT"}]
    message = compute_v1.Instance(
        name=shape.name,
        description=mark(spec.name),
        machine_type=f"projects/{api.gcp.project}/zones/{zone}/machineTypes/{shape.machine_type}",
        can_ip_forward=shape.forwards,
        tags={"items": [spec.network.name, *shape.tags]},
        labels={CLUSTER_LABEL: spec.name, ROLE_LABEL: shape.role},
        metadata={"items": [{"key": key, "value": value} for key, value in sorted(metadata.items())]},
        disks=[
            {
                "boot": True,
                "auto_delete": True,
                "initialize_params": {
                    "disk_size_gb": shape.disk_gb,
                    "source_image": shape.image,
                    "labels": {CLUSTER_LABEL: spec.name},
                },
            }
        ],
        network_interfaces=[interface],
    )
    return Wanted(
        kind=INSTANCE,
        name=shape.name,
        message=message,
        facets=lambda seen: _facets(seen, message),
        zone=zone,
        after=(f"{SUBNET.name}:{spec.network.subnet}",),
    )


def _facets(seen: Message, ours: Message) -> dict[str, str]:
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
