from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from fakes import FakeAgent, cluster

from khw.cluster.observed import units_of
from khw.errors import UnreachableError

if TYPE_CHECKING:
    from khw.ssh.client import Agent, Completed

CLUSTER = cluster()


def states(argv: tuple[str, ...]) -> str:
    """What `systemctl show` prints of them: one is down, one it has never heard of."""
    down = {"etcd.service": "failed"}
    units = [word for word in argv if word.endswith(".service") and word != "kubelet.service"]
    return "\n\n".join(f"Id={unit}\nActiveState={down.get(unit, 'active')}" for unit in units)


def gone(_argv: tuple[str, ...]) -> str | Completed:
    raise UnreachableError("no sign of life", node="worker-1")


def agents(**others: FakeAgent) -> dict[str, Agent]:
    all_of_them: dict[str, Any] = {node.name: FakeAgent(states) for node in CLUSTER.nodes} | others
    return cast("dict[str, Agent]", all_of_them)


def test_every_node_is_asked_once_for_all_its_units() -> None:
    asked = agents()
    seen, silent = units_of(CLUSTER, asked)
    assert silent == {}
    assert seen["controller-0"]["etcd"] == "failed"
    assert seen["controller-0"]["kube-apiserver"] == "active"
    assert seen["worker-0"] == {"kubelet": "unknown", "kube-proxy": "active", "containerd": "active"}
    assert {cast("Any", agent).exchanges for agent in asked.values()} == {1}


def test_a_node_that_stops_answering_says_why_and_the_others_are_seen() -> None:
    seen, silent = units_of(CLUSTER, agents(**{"worker-1": FakeAgent(gone)}))
    assert silent == {"worker-1": "no sign of life"}
    assert set(seen) == {node.name for node in CLUSTER.nodes} - {"worker-1"}


def test_nodes_that_were_never_reached_are_left_out() -> None:
    assert units_of(CLUSTER, {}) == ({}, {})
