"""
The whole run as one table: what khw does, in the order of the guide.

Each host walks down its own phases (those with its role), the operator's side walks down its own; a gate (`needs`,
and `settle_needs` before a phase's final waits) holds a host only where the cluster needs it. The command line, its
completion, `khw phases` and the docs are made from this table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeAlias

from khw.cluster.model import Cluster, Node
from khw.cluster.spec import Planned, Role
from khw.converge.resources import Resource
from khw.engine import operator as operators_side
from khw.engine.gates import Need, Quorum
from khw.errors import UsageError
from khw.tasks import (
    balancer,
    certificates,
    control_plane,
    dns,
    encryption,
    etcd,
    kubeconfigs,
    pod_routes,
    prerequisites,
    workers,
)

if TYPE_CHECKING:
    from khw.certs.pki import Pki
    from khw.engine.turns import Health

Task: TypeAlias = "Callable[[Node, Cluster, Pki], Iterable[Resource]]"

CONTROLLER, ETCD, WORKER = Role.CONTROLLER, Role.ETCD, Role.WORKER
ON_CONTROLLERS = frozenset({CONTROLLER})
ON_ETCD = frozenset({ETCD})
ON_WORKERS = frozenset({WORKER})
ON_NODES = ON_CONTROLLERS | ON_ETCD | ON_WORKERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """
    A step of the guide.

    `task` is what nodes with one of `roles` are to have; `once` means on one of them, whichever is healthy.
    `operator` is what is done from the operator's side (cloud, certificates, kubectl); nodes wait for it.
    `health` says how others are seen to be well, before a host disturbs what lives (khw.engine.turns). `through` is
    noted on the operator's side as soon as a node is through.
    """

    name: str
    chapter: int
    title: str
    operator: operators_side.Step | None = None
    roles: frozenset[Role] = frozenset()
    task: Task | None = None
    once: bool = False
    needs: tuple[Need, ...] = ()
    settle_needs: tuple[Need, ...] = ()
    health: Callable[[Node, Cluster], Health] | None = None
    through: operators_side.Note | None = None

    def on(self, machine: Node | Planned) -> bool:
        """Whether this machine has a part in it, by any of its roles."""
        return bool(self.roles & machine.roles)


PHASES: tuple[Phase, ...] = (
    Phase(
        name="prerequisites",
        chapter=1,
        title="credentials, project, and what every machine must have",
        operator=operators_side.prerequisites,
        roles=ON_NODES,
        task=prerequisites.resources,
    ),
    Phase(name="tools", chapter=2, title="kubectl and the artifacts", operator=operators_side.tools),
    Phase(
        name="compute",
        chapter=3,
        title="network, firewall, address, machines",
        operator=operators_side.compute,
    ),
    Phase(
        name="certificates",
        chapter=4,
        title="three authorities and every certificate",
        operator=operators_side.certificates,
        roles=ON_NODES,
        task=certificates.resources,
    ),
    Phase(
        name="kubeconfigs",
        chapter=5,
        title="who logs in to the API, and where",
        roles=ON_NODES,
        task=kubeconfigs.resources,
    ),
    Phase(
        name="encryption",
        chapter=6,
        title="encryption at rest",
        roles=ON_CONTROLLERS,
        task=encryption.resources,
    ),
    Phase(
        name="etcd",
        chapter=7,
        title="etcd over mutual TLS",
        roles=ON_ETCD,
        task=etcd.resources,
        health=etcd.health,
        through=operators_side.etcd_lives,
    ),
    Phase(
        name="load-balancer",
        chapter=8,
        title="the address of the API",
        operator=operators_side.load_balancer,
        roles=frozenset({Role.BALANCER}),
        task=balancer.resources,
    ),
    Phase(
        name="control-plane",
        chapter=8,
        title="API server, controller manager, scheduler",
        roles=ON_CONTROLLERS,
        task=control_plane.resources,
        health=control_plane.health,
        needs=(Need("etcd", ETCD, Quorum.MAJORITY),),
    ),
    Phase(
        name="rbac",
        chapter=8,
        title="the API server's right to reach kubelets",
        roles=ON_CONTROLLERS,
        task=control_plane.rbac,
        once=True,
    ),
    Phase(
        name="runtime",
        chapter=9,
        title="swap off, containerd, runc, CNI, binaries, images",
        roles=ON_WORKERS,
        task=workers.prepare,
    ),
    Phase(
        name="workers",
        chapter=9,
        title="kubelet and kube-proxy: the worker joins",
        roles=ON_WORKERS,
        task=workers.resources,
        needs=(Need("control-plane", CONTROLLER), Need("load-balancer")),
    ),
    Phase(
        name="kubectl",
        chapter=10,
        title="kubectl from here, through the load balancer",
        operator=operators_side.kubectl,
    ),
    Phase(
        name="routes",
        chapter=11,
        title="a route to each worker's pods",
        operator=operators_side.routes,
        roles=frozenset({Role.ROUTED}),
        task=pod_routes.resources,
    ),
    Phase(
        name="dns",
        chapter=12,
        title="CoreDNS",
        roles=ON_CONTROLLERS,
        task=dns.resources,
        once=True,
        needs=(Need("rbac", CONTROLLER),),
        settle_needs=(Need("workers", WORKER), Need("routes"), Need("routes", Role.ROUTED, Quorum.ALL)),
    ),
    Phase(
        name="smoke",
        chapter=13,
        title="does it really work?",
        operator=operators_side.smoke,
        needs=(Need("workers", WORKER, Quorum.ALL), Need("dns", CONTROLLER)),
    ),
)

# The phases that come before there are machines: the inventory is known after the last of them.
GROUND = tuple(phase.name for phase in PHASES[: [p.name for p in PHASES].index("compute") + 1])


def select(
    only: Iterable[str] = (),
    start: str | None = None,
    until: str | None = None,
    skip: Iterable[str] = (),
) -> tuple[Phase, ...]:
    """Return the phases that `--phase`, `--from`, `--until` and `--skip` choose, in the table's order."""
    names = [phase.name for phase in PHASES]
    only, skip = tuple(only), tuple(skip)
    for name in (*only, *skip, *((start,) if start else ()), *((until,) if until else ())):
        _require_known(name, names)
    first = names.index(start) if start else 0
    last = names.index(until) if until else len(names) - 1
    if first > last:
        msg = f"--from {start} comes after --until {until}: nothing is selected"
        raise UsageError(msg, hint="khw phases shows the order")
    chosen = tuple(p for p in PHASES[first : last + 1] if (not only or p.name in only) and p.name not in skip)
    if not chosen:
        raise UsageError("no phase is selected", hint="khw phases shows them all")
    return chosen


def _require_known(name: str, names: list[str]) -> None:
    if name not in names:
        near = get_close_matches(name, names, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        msg = f"there is no phase {name!r}{meant}"
        raise UsageError(msg, hint="khw phases shows them all")
