"""The cluster's machines as they are now: found by label, with the SSH host keys that they published."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from khw.cluster.model import NOT_KNOWN_YET, Cluster, Node
from khw.cluster.spec import Role
from khw.errors import ProviderError
from khw.inventory.gcp.errors import explained
from khw.inventory.gcp.kinds import ADDRESS, INSTANCE
from khw.inventory.gcp.library import refusals
from khw.inventory.gcp.machine import CLUSTER_LABEL, ROLE_LABEL, metadata_of
from khw.inventory.gcp.operations import Job, last, together
from khw.inventory.gcp.private import BASTION_ROLE, nat_name
from khw.inventory.gcp.zones import zones_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from khw.cluster.spec import Planned, Spec
    from khw.inventory.gcp.clients import Api, Message

COMING = {"PROVISIONING", "STAGING", "RUNNING", "REPAIRING"}
POLL = 0.5  # Google has no call that waits for a guest attribute


def discover(api: Api, spec: Spec) -> Cluster:
    """
    Return the cluster with its machines.

    A machine that is planned and is missing, stopped, or does not publish its keys within timeouts.boot is in it
    all the same, with `unreachable` saying so: the others can go on.
    """
    found = _found(api, spec)
    if not found.keys() - {spec.bastion_name}:
        raise ProviderError(
            f"project {api.gcp.project} has no machine of cluster {spec.name} (label {CLUSTER_LABEL}={spec.name})",
            hint="`khw run --phase compute` makes them",
        )
    address = api.get(ADDRESS, spec.network.name)
    if address is None:
        raise ProviderError(
            f"the static address {spec.network.name} is missing in region {api.gcp.region}",
            hint="`khw run --phase compute` makes it",
        )
    return _cluster(api, spec, found, str(address.address))


def foresee(api: Api, spec: Spec) -> Cluster:
    """
    Return the cluster as chapter 3 will leave it: a plan's view, before there is anything.

    A machine that is not made yet is in the zone where it will be, and has no external address yet.
    """
    found = _found(api, spec)
    address = api.get(ADDRESS, spec.network.name)
    cluster = _cluster(api, spec, found, str(address.address) if address is not None else NOT_KNOWN_YET)
    zones = zones_of(spec, api.gcp)
    nodes = tuple(node if node.exists else replace(node, zone=zones[node.name]) for node in cluster.nodes)
    return replace(cluster, nodes=nodes)


def _found(api: Api, spec: Spec) -> dict[str, Message]:
    """Return the machines by name: those in the list, and those that are there and not in it yet (lists may lag)."""
    found = {str(row.name): row for row in api.labelled(CLUSTER_LABEL, spec.name)}
    zones = zones_of(spec, api.gcp)
    missing = [name for name in zones if name not in found]
    asked = together(api, [Job(name, partial(api.get, INSTANCE, name, zones[name])) for name in missing])
    for name in missing:
        row = asked[name]
        if row is not None and row.labels.get(CLUSTER_LABEL) == spec.name:
            found[name] = row
    return found


def _cluster(api: Api, spec: Spec, found: Mapping[str, Message], api_address: str) -> Cluster:
    deadline = time.monotonic() + spec.timeouts.boot
    rows = {name: row for name, row in found.items() if row.labels.get(ROLE_LABEL) != BASTION_ROLE}
    bastion = found.get(spec.bastion_name) if api.gcp.private_nodes else None
    jobs = [Job(name, partial(_node, api, spec, row, deadline)) for name, row in rows.items()]
    if bastion is not None:
        jobs.append(Job(spec.bastion_name, partial(_booted, api, bastion, deadline)))
    seen = together(api, jobs)
    door, keys = seen.pop(spec.bastion_name) if bastion is not None else (None, ())
    nodes: dict[object, Node] = {name: node for name, node in seen.items() if node}
    if api.gcp.private_nodes:
        nodes = {name: _behind(spec, node, door, keys) for name, node in nodes.items()}
    missing = [_missing(spec, machine) for machine in spec.planned if machine.name not in nodes]
    planned = [machine.name for machine in spec.planned]
    outside = api.get(ADDRESS, nat_name(spec)) if api.gcp.private_nodes else None
    return Cluster(
        spec=spec,
        nodes=tuple(sorted([*nodes.values(), *missing], key=lambda node: _order(node, planned))),
        api_address=api_address,
        nat_address=str(outside.address) if outside is not None else None,
    )


def _order(node: Node, planned: Sequence[str]) -> tuple[bool, int, str]:
    """Controllers first, then in the order of the cluster file."""
    index = planned.index(node.name) if node.name in planned else len(planned)
    return (node.role is not Role.CONTROLLER, index, node.name)


def _missing(spec: Spec, machine: Planned) -> Node:
    return Node(
        name=machine.name,
        role=machine.role,
        internal_ip=str(machine.address),
        pod_cidr=str(machine.pod_cidr) if machine.pod_cidr else None,
        ssh_user=spec.ssh.user,
        unreachable="its instance does not exist",
        exists=False,
        also=machine.also,
    )


def _node(api: Api, spec: Spec, row: Message, deadline: float) -> Node | None:
    """Return a machine as it is once it has booted, or will not; None if it is gone, and the list did not know."""
    name, zone = str(row.name), last(row.zone)
    row, keys = _booted(api, row, deadline)
    if row is None:
        return None
    interface = row.network_interfaces[0]
    external = _external(row)
    unreachable = ""
    if row.status != "RUNNING":
        unreachable = f"its instance is {row.status}"
    elif not external and not api.gcp.private_nodes:
        unreachable = "its instance has no external address"
    elif not keys:
        unreachable = (
            f"it published no SSH host keys within {spec.timeouts.boot:.0f} s of boot; its console tells more: "
            f"`gcloud compute instances get-serial-port-output {name} --zone {zone} --project {api.gcp.project}`"
        )
    role = row.labels.get(ROLE_LABEL, "")
    if role not in {known.value for known in Role}:
        raise ProviderError(
            f"instance {name} is labelled as cluster {spec.name}'s, but its {ROLE_LABEL} is {role or 'missing'}",
            hint=f"label it {ROLE_LABEL}=controller, {ROLE_LABEL}=worker or {ROLE_LABEL}=etcd",
        )
    return Node(
        name=name,
        role=Role(role),
        internal_ip=str(interface.network_i_p),
        external_ip=external,
        pod_cidr=_pod_cidr(spec, row, Role(role)),
        zone=zone,
        ssh_host=external or "",
        ssh_user=spec.ssh.user,
        host_keys=keys,
        unreachable=unreachable,
        also=spec.also if role == Role.CONTROLLER else None,
    )


def _external(row: Message) -> str | None:
    configs = row.network_interfaces[0].access_configs
    return next((str(access.nat_i_p) for access in configs if access.nat_i_p), None)


def _behind(spec: Spec, node: Node, bastion: Message | None, keys: tuple[str, ...]) -> Node:
    """Return a private node with its way in: at its internal address, through the bastion."""
    why = ""
    if bastion is None:
        why = f"the bastion {spec.bastion_name} does not exist; `khw run --phase compute` makes it"
    elif bastion.status != "RUNNING":
        why = f"the bastion {spec.bastion_name} is {bastion.status}"
    elif not keys:
        why = f"the bastion {spec.bastion_name} published no SSH host keys within {spec.timeouts.boot:.0f} s of boot"
    where = _external(bastion) if bastion is not None else None
    return replace(
        node,
        ssh_host=node.internal_ip,
        ssh_jump=f"{spec.ssh.user}@{where}" if where else "",
        jump_keys=keys,
        unreachable=node.unreachable or why,
    )


def _pod_cidr(spec: Spec, row: Message, role: Role) -> str | None:
    """Return the range that its metadata give it: a controller's only as long as there are no workers."""
    return None if role is Role.CONTROLLER and spec.workers.count else metadata_of(row).get("pod-cidr")


def _booted(api: Api, row: Message, deadline: float) -> tuple[Message | None, tuple[str, ...]]:
    """Wait until the machine runs and has published its keys, or will not any more; return it as it is then."""
    name, zone = str(row.name), last(row.zone)
    while True:
        if row.status == "RUNNING" and (keys := _host_keys(api, name, zone)):
            return row, keys
        if row.status not in COMING or api.stopped.is_set() or time.monotonic() > deadline:
            return row, ()
        api.stopped.wait(POLL)
        row = api.get(INSTANCE, name, zone)
        if row is None:
            return None, ()


def expected(api: Api, spec: Spec) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Give what discovery will ask, if the machines are where the cluster file has them."""
    yield api.labelled_reading(CLUSTER_LABEL, spec.name)
    for name in (spec.network.name, *((nat_name(spec),) if api.gcp.private_nodes else ())):
        yield ADDRESS.client, "get", {**api.place(ADDRESS), ADDRESS.field: name}
    for name, zone in zones_of(spec, api.gcp).items():
        yield _host_keys_reading(api, name, zone)


def _host_keys_reading(api: Api, name: str, zone: str) -> tuple[str, str, dict[str, str]]:
    request = {"project": api.gcp.project, "zone": zone, "instance": name, "query_path": "hostkeys/"}
    return INSTANCE.client, "get_guest_attributes", request


def _host_keys(api: Api, name: str, zone: str) -> tuple[str, ...]:
    """Return the host keys that the guest published: none yet while it boots (a 404, as Google answers it)."""
    with explained(f"reading the host keys of {name}", api.gcp):
        try:
            answer = api.read(*_host_keys_reading(api, name, zone))
        except (refusals.NotFound, refusals.PreconditionFailed):  # the latter: its metadata turn them off
            return ()
    return tuple(sorted(f"{item.key} {item.value}" for item in answer.query_value.items if item.value))
