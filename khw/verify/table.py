"""
Every check, in the order in which they are shown.

`smoke` marks those that are chapter 13: `khw run` ends with them, and `khw verify` runs them all.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from khw.errors import UsageError
from khw.verify import (
    access,
    api_server,
    certificates,
    clock,
    cloud,
    controllers,
    disk,
    dns,
    edges,
    encryption,
    etcd,
    exposure,
    files,
    forwarding,
    network,
    nodes,
    pod_routes,
    units,
    workloads,
)
from khw.verify.check import CONTROLLERS, ETCD, NODES, ROUTED, WORKERS, Check, ClusterCheck, NodeCheck, PodCheck

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKS: tuple[Check, ...] = (
    NodeCheck(name="unit", roles=NODES, ask=units.ask, judge=units.judge),
    NodeCheck(name="file", roles=NODES, ask=files.ask, judge=files.judge),
    NodeCheck(name="exposure", roles=NODES, ask=exposure.ask, judge=exposure.judge),
    NodeCheck(name="disk", roles=NODES, ask=disk.ask, judge=disk.judge),
    NodeCheck(name="certificates", roles=NODES, ask=certificates.ask, judge=certificates.judge),
    NodeCheck(name="etcd", roles=ETCD, ask=etcd.ask_member, judge=etcd.judge_member),
    NodeCheck(name="etcd", roles=ETCD, ask=etcd.ask_leader, judge=etcd.judge_leader),
    NodeCheck(name="etcd", roles=ETCD, ask=etcd.ask_stranger, judge=etcd.judge_stranger),
    NodeCheck(name="API server", roles=CONTROLLERS, ask=api_server.ask, judge=api_server.judge),
    NodeCheck(name="API server names", roles=CONTROLLERS, ask=api_server.ask_names, judge=api_server.judge_names),
    ClusterCheck(name="cloud", look=cloud.resources, api=False),
    ClusterCheck(name="load balancer", look=api_server.balanced, opens=True),
    ClusterCheck(name="API server behind the Service", look=api_server.endpoints),
    NodeCheck(name="healthz", roles=CONTROLLERS, ask=controllers.ask, judge=controllers.judge),
    ClusterCheck(name="lease", look=controllers.leases),
    ClusterCheck(name="component status", look=controllers.component_status),
    ClusterCheck(name="RBAC", look=access.kubelets),
    ClusterCheck(name="admission", look=access.admission),
    ClusterCheck(name="node", look=nodes.ready),
    NodeCheck(name="CRI", roles=WORKERS, ask=nodes.ask_runtime, judge=nodes.judge_runtime),
    NodeCheck(name="swap", roles=WORKERS, ask=nodes.ask_swap, judge=nodes.judge_swap),
    NodeCheck(name="forwarding", roles=WORKERS, ask=forwarding.ask, judge=forwarding.judge),
    ClusterCheck(name="route", look=network.routes, api=False),
    NodeCheck(name="route", roles=ROUTED, ask=pod_routes.ask, judge=pod_routes.judge),
    PodCheck(name="test pod", look=workloads.placed, smoke=True),
    PodCheck(name="exec", look=workloads.execute, smoke=True),
    PodCheck(name="pod to pod", look=network.pod_to_pod, smoke=True),
    PodCheck(name="service", look=network.service, smoke=True),
    PodCheck(name="NodePort", look=network.node_port, smoke=True),
    ClusterCheck(name="CoreDNS", look=dns.deployed),
    ClusterCheck(name="CoreDNS", look=dns.corefile_of),
    PodCheck(name="DNS", look=dns.from_pods, smoke=True),
    PodCheck(name="logs", look=workloads.logs, smoke=True),
    PodCheck(name="port-forward", look=workloads.port_forward, smoke=True),
    PodCheck(name="service account token", look=workloads.token, smoke=True),
    PodCheck(name="deployment", look=workloads.deployment, smoke=True),
    PodCheck(name="encryption at rest", look=encryption.at_rest, smoke=True),
    NodeCheck(name="TLS", roles=NODES, ask=edges.ask, judge=edges.judge),
    NodeCheck(name="clock", roles=NODES, ask=clock.ask, judge=clock.judge),
)


def select(names: Sequence[str]) -> tuple[Check, ...]:
    """Return the checks with these names or beginnings of names, spaces typed as they are or as hyphens."""
    if not names:
        return CHECKS
    names_typed = {check: typed(check.name) for check in CHECKS}
    for name in names:
        if not any(known.startswith(typed(name)) for known in names_typed.values()):
            near = get_close_matches(typed(name), names_typed.values(), 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            msg = f"there is no check {name!r}{meant}"
            raise UsageError(msg, hint="checks: " + ", ".join(dict.fromkeys(names_typed.values())))
    return tuple(check for check, known in names_typed.items() if any(known.startswith(typed(name)) for name in names))


def typed(name: str) -> str:
    """Return a check's name as it is typed: lower case, hyphens between."""
    return name.lower().replace(" ", "-")
