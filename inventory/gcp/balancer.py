"""
Chapter 8: the load balancer in front of the API servers.

The guide's target pool needs an nginx on port 80 for its legacy check. This is today's kind: a regional backend
service over an unmanaged instance group in each zone, and a regional health check of the API server itself.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from khw.cluster.spec import Role
from khw.converge.changes import Action, Change
from khw.errors import DiffersError
from khw.inventory.gcp.compute import firewall, firewall_facets
from khw.inventory.gcp.errors import explained
from khw.inventory.gcp.kinds import BACKEND, FIREWALL, FORWARDING_RULE, GROUP, HEALTH_CHECK, INSTANCE, NETWORK
from khw.inventory.gcp.machine import CLUSTER_LABEL
from khw.inventory.gcp.messages import compute_v1
from khw.inventory.gcp.operations import begin, finish, last
from khw.inventory.gcp.sources import WORLD, source_ranges
from khw.inventory.gcp.wanted import Wanted, ensure, mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from khw.cluster.model import Cluster, Node
    from khw.cluster.spec import Spec
    from khw.inventory.gcp.clients import Api, Message

NOBODY = "192.0.2.0/32"  # of RFC 5737: a rule has sources, and while nothing is made yet there are none
# Where Google's health checkers come from (as in the guide).
CHECKERS = ("35.191.0.0/16", "209.85.152.0/22", "209.85.204.0/22")


def ensure_balancer(api: Api, cluster: Cluster, *, check: bool) -> list[Change]:
    """Make the load balancer on the cluster's static address, and put the controllers behind it."""
    rows = wanted(api, cluster)
    before = [row for row in rows if row.kind in {FIREWALL, GROUP, HEALTH_CHECK}]
    first = ensure(api, before, check=check)
    members = _ensure_members(api, [row for row in rows if row.kind is GROUP], _placed(cluster), check=check)
    rest = ensure(api, [row for row in rows if row.kind in {BACKEND, FORWARDING_RULE}], check=check)
    return [*first, *members, *rest]


def wanted(api: Api, cluster: Cluster) -> list[Wanted]:
    """Return all that chapter 8 makes in the project; the groups get the controllers before the last two are made."""
    spec = cluster.spec
    groups = [_group(spec, api, zone) for zone in sorted({node.zone for node in _placed(cluster)})]
    firewall_rule = firewall(
        spec,
        api,
        "allow-health-check",
        CHECKERS,
        [{"I_p_protocol": "tcp", "ports": [str(spec.network.api_port)]}],
        targets=(Role.CONTROLLER.value,),
    )
    rest = (_backend(spec, api, groups), _forwarding_rule(spec, api, cluster))
    return [firewall_rule, *_nodes_rule(cluster, api), *groups, _health_check(spec), *rest]


def _nodes_rule(cluster: Cluster, api: Api) -> Iterator[Wanted]:
    """
    Let the nodes to the API's address, where not everybody may come in.

    The load balancer passes packets on as they are, so the nodes come with their external addresses, which change
    when a machine is stopped and started; private ones come with NAT's.
    """
    spec = cluster.spec
    if WORLD in source_ranges(spec, api.gcp):
        return
    seen_at = [cluster.nat_address] if api.gcp.private_nodes else [node.external_ip for node in cluster.nodes]
    sources = sorted(f"{address}/32" for address in seen_at if address)
    yield firewall(
        spec,
        api,
        "allow-nodes",
        sources or [NOBODY],
        [{"I_p_protocol": "tcp", "ports": [str(spec.network.api_port)]}],
        targets=(Role.CONTROLLER.value,),
        facets=firewall_facets,
    )


def _placed(cluster: Cluster) -> list[Node]:
    return [node for node in cluster.controllers if node.zone]  # one that does not exist has none


def _group(spec: Spec, api: Api, zone: str) -> Wanted:
    message = compute_v1.InstanceGroup(
        name=f"{spec.network.name}-controllers",
        description=mark(spec.name),
        network=api.link(NETWORK, spec.network.name),
    )
    return Wanted(kind=GROUP, name=message.name, message=message, facets=_group_facets, zone=zone)


def _group_facets(seen: Message) -> dict[str, str]:
    return {"network": last(seen.network), "description": seen.description}


def _ensure_members(api: Api, groups: Sequence[Wanted], controllers: Sequence[Node], *, check: bool) -> list[Change]:
    """Put each controller into its zone's group; a machine that is in it and no controller is named."""
    changes: list[Change] = []
    for group in groups:
        expected = {node.name for node in controllers if node.zone == group.zone}
        present = set(_members(api, group))
        if strangers := present - expected:
            raise DiffersError(
                f"instance group {group.name} exists and differs: it holds {', '.join(sorted(strangers))}, "
                f"expected only {', '.join(sorted(expected))}",
                hint=f"`gcloud compute instance-groups unmanaged remove-instances {group.name} "
                f"--instances {','.join(sorted(strangers))} --zone {group.zone} --project {api.gcp.project}`",
            )
        missing = sorted(expected - present)
        began = time.monotonic()
        if missing and not check:
            _add(api, group, missing)
        seconds = time.monotonic() - began
        changes.extend(
            Change(
                resource=f"{GROUP.name}:{group.name}/{name}",
                action=Action.CREATED if name in missing else Action.UNCHANGED,
                seconds=seconds if name in missing else 0.0,
            )
            for name in sorted(expected)
        )
    return changes


def _members(api: Api, group: Wanted) -> Iterable[str]:
    request = {**api.place(GROUP, group.zone), GROUP.field: group.name}
    if api.get(GROUP, group.name, group.zone) is None:
        return []  # with --check it is not there yet
    rows = api.ask(GROUP.client, "list_instances", f"listing instance group {group.name}", request)
    return [last(row.instance) for row in rows]


def _add(api: Api, group: Wanted, names: Sequence[str]) -> None:
    doing = f"adding {', '.join(names)} to instance group {group.name}"
    body = {"instances": [{"instance": api.link(INSTANCE, name, group.zone)} for name in names]}
    request = {
        **api.place(GROUP, group.zone),
        GROUP.field: group.name,
        "instance_groups_add_instances_request_resource": body,
    }
    with explained(doing, api.gcp):
        operation = begin(api, GROUP.client, "add_instances_unary", request, doing)
    finish(api, operation, doing)


def _health_check(spec: Spec) -> Wanted:
    message = compute_v1.HealthCheck(
        name=f"{spec.network.name}-api",
        description=mark(spec.name),
        type_="HTTPS",
        https_health_check={"port": spec.network.api_port, "request_path": "/readyz"},
        check_interval_sec=2,
        timeout_sec=2,
        healthy_threshold=1,
        unhealthy_threshold=2,
    )
    return Wanted(kind=HEALTH_CHECK, name=message.name, message=message, facets=_health_check_facets)


def _health_check_facets(seen: Message) -> dict[str, str]:
    https = seen.https_health_check
    return {
        "type": seen.type_,
        "port": str(https.port),
        "path": https.request_path,
        "interval": f"{seen.check_interval_sec}s",
        "timeout": f"{seen.timeout_sec}s",
        "thresholds": f"{seen.healthy_threshold}/{seen.unhealthy_threshold}",
        "description": seen.description,
    }


def _backend(spec: Spec, api: Api, groups: Sequence[Wanted]) -> Wanted:
    message = compute_v1.BackendService(
        name=f"{spec.network.name}-api",
        description=mark(spec.name),
        load_balancing_scheme="EXTERNAL",
        protocol="TCP",
        health_checks=[api.link(HEALTH_CHECK, f"{spec.network.name}-api")],
        backends=[
            {"group": api.link(GROUP, group.name, group.zone), "balancing_mode": "CONNECTION"} for group in groups
        ],
    )
    return Wanted(kind=BACKEND, name=message.name, message=message, facets=_backend_facets)


def _backend_facets(seen: Message) -> dict[str, str]:
    return {
        "scheme": seen.load_balancing_scheme,
        "protocol": seen.protocol,
        "health-check": " ".join(sorted(last(link) for link in seen.health_checks)),
        "groups": " ".join(sorted("/".join(row.group.split("/")[-4:]) for row in seen.backends)),
        "description": seen.description,
    }


def _forwarding_rule(spec: Spec, api: Api, cluster: Cluster) -> Wanted:
    message = compute_v1.ForwardingRule(
        name=f"{spec.network.name}-api",
        description=mark(spec.name),
        load_balancing_scheme="EXTERNAL",
        I_p_protocol="TCP",
        I_p_address=cluster.api_address,
        port_range=str(spec.network.api_port),
        backend_service=api.link(BACKEND, f"{spec.network.name}-api"),
    )
    return Wanted(
        kind=FORWARDING_RULE,
        name=message.name,
        message=message,
        facets=lambda seen: _rule_facets(seen, cluster.api_address),
        after=(f"{BACKEND.name}:{spec.network.name}-api",),
        follows=frozenset({"labels"}),
        labels={CLUSTER_LABEL: spec.name},
    )


def _rule_facets(seen: Message, address: str) -> dict[str, str]:
    # Google answers a range of one port as '6443-6443', and may answer the address as a link to it
    low, _, high = seen.port_range.partition("-")
    ports = low if low == (high or low) else seen.port_range
    return {
        "address": address if last(seen.I_p_address) == address else seen.I_p_address,
        "ports": ports or " ".join(seen.ports),
        "protocol": seen.I_p_protocol,
        "scheme": seen.load_balancing_scheme,
        "backend-service": last(seen.backend_service),
        "description": seen.description,
    }
