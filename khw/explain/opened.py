"""The guide of a session's cluster: its machines as they are, or as they will be."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from khw.cluster.model import NOT_KNOWN_YET
from khw.errors import ProviderError
from khw.explain.guide import Guide
from khw.inventory.keys import login_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from khw.cluster.model import Cluster, Facts
    from khw.session import Session

EXAMPLE = "203.0.113.7/32"  # of RFC 5737: nobody's


def open_guide(session: Session, *, offline: bool, tell: Callable[[str], None]) -> Guide:
    """
    Return the guide for the cluster as the provider knows it.

    Nodes that answer are asked what they are (which control groups, container or not): what some files say depends on
    it. `offline`, and of nodes that do not answer, an ordinary Linux is assumed, and `tell` is told so.
    """
    run = session.context(check=True, foresee=True)
    try:
        cluster = _planned(session) if offline else run.cluster
    except ProviderError as error:
        tell(f"from the cluster file alone: {error.message}")
        cluster = _planned(session)
    cluster = _let_in(cluster, tell)
    key = login_key(session.spec, session.workspace, check=True)
    facts: dict[str, Facts] = {}
    reachable = [node for node in cluster.nodes if node.exists and not node.unreachable]
    if reachable and key.exists() and not offline:
        from khw.engine.engine import connect

        agents, _ = connect(run, reachable)
        for name, agent in agents.items():
            facts[name] = agent.facts
            agent.close()
    assumed = [node.name for node in cluster.nodes if node.name not in facts]
    if assumed and not offline:
        tell(f"not asked, an ordinary Linux (control groups v2) is assumed: {', '.join(assumed)}")
    return Guide(
        cluster=_informed(cluster, facts),
        store=session.store,
        home=session.workspace.root,
        ssh_key=key,
        api=getattr(session.provider, "api", None),
    )


def _planned(session: Session) -> Cluster:
    """Return the cluster that the file asks for, with no word from the project."""
    from khw.flags.rendered import planned
    from khw.inventory.gcp.zones import zones_of

    spec = session.spec
    if spec.gcp is None:
        return session.provider.foresee()
    cluster = planned(spec)
    zones = zones_of(spec, spec.gcp)
    nodes = tuple(replace(node, zone=zones[node.name], exists=False) for node in cluster.nodes)
    return replace(cluster, nodes=nodes, api_address=NOT_KNOWN_YET)


def _let_in(cluster: Cluster, tell: Callable[[str], None]) -> Cluster:
    """Return the cluster with somebody's address for the operator's own, where that cannot be known."""
    from khw.inventory.gcp.sources import source_ranges

    spec = cluster.spec
    if spec.gcp is None:
        return cluster
    try:
        source_ranges(spec, spec.gcp)
    except ProviderError as error:
        tell(f"{EXAMPLE} stands for your own address: {error.message}")
        network = spec.network.model_copy(update={"source_ranges": (IPv4Network(EXAMPLE),)})
        return replace(cluster, spec=spec.model_copy(update={"network": network}))
    return cluster


def _informed(cluster: Cluster, facts: Mapping[str, Facts]) -> Cluster:
    nodes = tuple(node.with_facts(facts[node.name]) if node.name in facts else node for node in cluster.nodes)
    return replace(cluster, nodes=nodes)
