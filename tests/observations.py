"""A cluster that was looked at, and a run that is over, without a machine behind them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fakes import cluster

from khw.cluster.model import Facts
from khw.cluster.observed import UNITS, Observed
from khw.cluster.spec import Spec
from khw.converge.changes import Action, Change
from khw.engine.events import (
    Discovered,
    GateOpened,
    PhaseEnded,
    PhaseStarted,
    PhaseWaits,
    ResourceDone,
    RunEnded,
)
from khw.engine.report import OPERATOR, Outcome, PhaseResult
from khw.inventory.provider import FirewallRule, Route

if TYPE_CHECKING:
    from khw.engine.events import Event

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def observed(*, workers: int = 3, etcd: int = 0, routes: bool = True, private: bool = False) -> Observed:
    spec = Spec()
    pools = {"workers": spec.workers.model_copy(update={"count": workers})}
    it = cluster(spec.model_copy(update={**pools, "etcd": spec.etcd.model_copy(update={"count": etcd})}))
    if private:
        behind = {"external_ip": None, "ssh_jump": "khw@203.0.113.9", "jump_keys": ("ssh-ed25519 AAAA",)}
        it = replace(it, nodes=tuple(replace(node, **behind) for node in it.nodes), nat_address="203.0.113.10")  # type: ignore[arg-type]  # of several types
    rows = [
        Route(f"kubernetes-route-{n}", "kubernetes-the-hard-way", str(node.pod_cidr), node.internal_ip, 1000)
        for n, node in enumerate(it.workers)
    ]
    default = Route("default-route", "kubernetes-the-hard-way", "0.0.0.0/0", "default-internet-gateway", 1000)
    return Observed(
        cluster=it,
        at=AT,
        routes=(*(rows if routes else ()), default),
        firewall=(
            FirewallRule("kubernetes-the-hard-way-allow-internal", "allow", "tcp; udp; icmp", "10.0.0.0/8", "", 1000),
            FirewallRule("kubernetes-the-hard-way-allow-external", "allow", "tcp 22, 6443", "203.0.113.7/32", "", 1000),
            FirewallRule("kubernetes-the-hard-way-allow-api", "allow", "tcp 6443", "192.0.2.0/24", "controller", 1000),
            FirewallRule("theirs", "deny", "all", "0.0.0.0/0", "", 900, leaving=True),
        ),
        units={node.name: dict.fromkeys(UNITS[node.role], "active") for node in it.nodes},
        facts={node.name: Facts(kernel="6.1.0-18-amd64") for node in it.nodes},
    )


def result(host: str, phase: str, started: float, ended: float, outcome: Outcome = Outcome.CHANGED) -> PhaseEnded:
    return PhaseEnded(PhaseResult(host=host, phase=phase, outcome=outcome, started=started, ended=ended))


class Clock:
    """Stands in for the journal's clock: an event that says when it was is written at that moment."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


LANES = {OPERATOR: ("compute", "smoke"), "controller-0": ("etcd",), "worker-0": ("workers",)}
A_RUN: tuple[tuple[float, Event], ...] = (
    (0.0, PhaseStarted(OPERATOR, "compute")),
    (10.0, result(OPERATOR, "compute", 0.0, 10.0)),
    (10.1, Discovered(OPERATOR, 10.0, 10.1)),
    (10.1, PhaseStarted("controller-0", "etcd")),
    (10.1, PhaseWaits("worker-0", "workers", "etcd on any controller (controller-0)", "etcd", ("controller-0",))),
    (10.2, PhaseWaits(OPERATOR, "smoke", "workers on all worker (worker-0)", "workers", ("worker-0",))),
    (15.0, ResourceDone("controller-0", "etcd", Change(resource="unit:etcd.service", action=Action.STARTED))),
    (20.0, result("controller-0", "etcd", 10.1, 20.0)),
    (20.1, GateOpened("worker-0", "workers")),
    (20.1, PhaseStarted("worker-0", "workers")),
    (30.0, result("worker-0", "workers", 10.1, 30.0)),
    (30.1, GateOpened(OPERATOR, "smoke")),
    (30.1, PhaseStarted(OPERATOR, "smoke")),
    (32.0, result(OPERATOR, "smoke", 10.2, 32.0, Outcome.OK)),
    (32.1, RunEnded("1", 0, 32.0, "", {"controller-0": 7}, {"controller-0": 1_000_000}, {"worker-0": 2_500_000})),
)
