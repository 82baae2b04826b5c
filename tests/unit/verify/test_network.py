from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from fakes import cluster

from khw.verify import network
from khw.verify.bench import Bench, Pod

if TYPE_CHECKING:
    import pytest


def test_a_service_just_made_is_waited_for_and_a_broken_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    it = cluster()
    pods = {node.name: Pod(f"echo-{node.name}", node.name, "10.200.0.2") for node in it.workers}
    bench = Bench(
        kubectl=cast("Any", None), namespace="n", pods=pods, missing={}, service_address="10.32.0.9", node_port=30001
    )
    answers = {"10.32.0.9:80": ["REFUSED", "REFUSED", ""], "10.32.0.1:443": ["TIMEOUT"]}

    def connect(_bench: Bench, _pod: Pod, target: str, protocol: str = "tcp") -> str:
        left = answers[target]
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(Bench, "connect", connect)
    monkeypatch.setattr(network, "SETTLE_SECONDS", 0.5)
    monkeypatch.setattr(network, "POLL_SECONDS", 0.01)
    findings = list(network.service(cast("Any", type("C", (), {"cluster": it})), bench))
    assert {f.subject for f in findings if f.ok} == {"echo"}
    assert {f.actual for f in findings if not f.ok} == {"10.32.0.1:443 TIMEOUT"}


def test_a_node_port_behind_a_bastion_is_asked_for_from_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here there is no way to a machine of one's own that SSH reaches by a jump: its port is not ours to try."""
    before = cluster()
    nodes = tuple(replace(node, external_ip=None, ssh_jump="ops@bastion") for node in before.nodes)
    it = replace(before, nodes=nodes)
    pods = {node.name: Pod(f"echo-{node.name}", node.name, "10.200.0.2") for node in it.workers}
    bench = Bench(
        kubectl=cast("Any", None), namespace="n", pods=pods, missing={}, service_address="10.32.0.9", node_port=30001
    )
    asked: list[tuple[str, str]] = []

    def connect(_bench: Bench, pod: Pod, target: str, protocol: str = "tcp") -> str:
        asked.append((pod.node, target))
        return ""

    monkeypatch.setattr(Bench, "connect", connect)
    monkeypatch.setattr(network, "fetch", lambda *_: "[Errno 101] Network is unreachable")
    findings = list(network.node_port(cast("Any", type("C", (), {"cluster": it, "unreachable": {}})), bench))
    assert all(finding.ok for finding in findings)
    assert {target for _, target in asked} == {f"{node.internal_ip}:30001" for node in it.workers}
    assert all(it.node(node).internal_ip not in target for node, target in asked), "asked from another worker's pod"
