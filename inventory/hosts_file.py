"""
Machines in Nornir's own form: a hosts.yaml of SimpleInventory, with groups.yaml and defaults.yaml beside it.

Nornir reads it, so that inheritance from groups and defaults is Nornir's. The groups `controllers`, `workers` and
`etcd` say what a machine is for (one in both of the first two is a controller that runs pods); `data` has what Nornir
has no field for: `address` (if it is not `hostname`), `pod_cidr`, `host_keys`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from khw.errors import ClusterFileError

if TYPE_CHECKING:
    from pathlib import Path

    from nornir.core.inventory import Host

ROLES = {"controllers": "controller", "workers": "worker", "etcd": "etcd"}  # the first that a host is in

OF_DATA = {name.replace("_", ""): name for name in ("address", "pod_cidr", "host_keys")}
"""What khw reads of a host's `data`, which may have more: by how it may be misspelt."""


def nodes_of(path: Path) -> list[dict[str, Any]]:
    """Return the machines as `static.nodes` has them; ClusterFileError names the host and what it lacks."""
    from nornir.plugins.inventory import SimpleInventory

    if not path.is_file():
        raise ClusterFileError(f"static.hosts_file {path} does not exist")
    beside = {name: str(path.parent / f"{name}.yaml") for name in ("groups", "defaults")}
    try:
        inventory = SimpleInventory(str(path), beside["groups"], beside["defaults"]).load()
    except Exception as error:
        raise ClusterFileError(
            f"{path} is not an inventory as Nornir's SimpleInventory reads it: {error}",
            hint="each host's groups must be in groups.yaml beside it (controllers: {}, workers: {})",
        ) from error
    return [_node(path, name, host) for name, host in inventory.hosts.items()]


def _node(path: Path, name: str, host: Host) -> dict[str, Any]:
    groups = {group.name for group in host.extended_groups()}
    role = next((role for group, role in ROLES.items() if group in groups), None)
    if role is None:
        raise ClusterFileError(
            f"{path}: {name} is in none of the groups {', '.join(ROLES)}", hint=f"{name}: groups: [workers]"
        )
    for key in map(str, dict(host.items())):  # groups' and defaults' too
        meant = OF_DATA.get(re.sub("[-_ ]", "", key.lower()), key)
        if meant != key:
            raise ClusterFileError(f"{path}: {name}: khw reads no {key!r} of its data", hint=f"did you mean {meant}?")
    reached = host.hostname or name
    made = {
        "name": name,
        "role": role,
        "address": host.get("address") or reached,
        "host": reached,
        "port": host.port,
        "user": host.username,
        "pod_cidr": host.get("pod_cidr"),
        "host_keys": host.get("host_keys") or [],
    }
    return {key: value for key, value in made.items() if value is not None}
