"""Who may come in from outside: nobody but the operator, unless the cluster file says so."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from khw.cluster.spec import Network, Spec
from khw.converge.changes import Action
from khw.errors import ProviderError
from khw.inventory.gcp import sources as gcp_sources
from khw.inventory.gcp.kinds import FIREWALL, INSTANCE
from khw.inventory.gcp.operations import finish
from khw.inventory.gcp.sources import admits, own_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from khw.converge.changes import Change
    from khw.inventory.gcp.provider import GcpProvider

    from ..conftest import Lab

NAME = "kubernetes-the-hard-way"
OUTER = ("allow-external", "allow-nodeports")


@pytest.fixture(autouse=True)
def not_kept() -> Iterator[None]:
    yield
    gcp_sources._outgoing.cache_clear()


def at(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Be at this address."""
    monkeypatch.setattr(gcp_sources, "_outgoing", lambda _host, _port: IPv4Address(address))
    monkeypatch.setattr(gcp_sources._outgoing, "cache_clear", lambda: None, raising=False)


def sources(lab: Lab, suffix: str) -> list[str]:
    rule = lab.api.get(FIREWALL, f"{NAME}-{suffix}")
    return list(rule.source_ranges)


def updated(changes: Sequence[Change]) -> dict[str, tuple[str, str]]:
    return {row.resource: (row.before, row.after) for row in changes if row.action is Action.UPDATED}


def balanced(provider: GcpProvider, *, check: bool = False) -> Sequence[Change]:
    return provider.ensure_load_balancer(provider.discover(), check=check)


def test_without_a_word_the_operator_alone_is_let_in(lab: Lab) -> None:
    assert Spec().network.source_ranges is None
    lab.provider().ensure_compute()
    assert [sources(lab, suffix) for suffix in OUTER] == [["127.0.0.1/32"]] * 2


def test_the_world_is_let_in_where_the_file_says_so(lab: Lab) -> None:
    provider = lab.provider(network=Network(source_ranges=("0.0.0.0/0",)))
    provider.ensure_compute()
    assert [sources(lab, suffix) for suffix in OUTER] == [["0.0.0.0/0"]] * 2
    assert f"firewall:{NAME}-allow-nodes" not in {row.resource for row in balanced(provider)}


def test_behind_address_translation_the_error_says_how_to_say_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, "192.168.1.7")
    with pytest.raises(ProviderError, match=r"192\.168\.1\.7, which is no address on the internet") as caught:
        lab.provider().ensure_compute()
    assert "`source_ranges: [ADDRESS/32]` below `network`" in caught.value.hint
    assert lab.project.state.entries == {}, "nothing was made"
    lab.provider(network=Network(source_ranges=("203.0.113.7/32",))).ensure_compute()


def test_an_operator_who_has_moved_is_let_in_again_and_the_plan_says_so(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.provider().ensure_compute()
    at(monkeypatch, "8.8.8.8")
    wanted = {f"firewall:{NAME}-{suffix}": ("sources 127.0.0.1/32", "sources 8.8.8.8/32") for suffix in OUTER}
    assert updated(lab.provider().ensure_compute(check=True)) == wanted
    assert sources(lab, "allow-external") == ["127.0.0.1/32"]
    assert updated(lab.provider().ensure_compute()) == wanted
    assert [sources(lab, suffix) for suffix in OUTER] == [["8.8.8.8/32"]] * 2
    assert not [row for row in lab.provider().ensure_compute() if row.changed]


def test_a_rule_that_lets_a_second_operator_in_too_is_left_as_it_is(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.provider(network=Network(source_ranges=("127.0.0.1/32", "8.8.8.8/32"))).ensure_compute()
    assert not [row for row in lab.provider().ensure_compute() if row.changed]
    at(monkeypatch, "8.8.8.8")
    assert not [row for row in lab.provider().ensure_compute() if row.changed]


def test_a_rule_for_the_world_is_narrowed_when_the_file_no_longer_asks_for_it(lab: Lab) -> None:
    lab.provider(network=Network(source_ranges=("0.0.0.0/0",))).ensure_compute()
    assert len(updated(lab.provider().ensure_compute())) == 2
    assert sources(lab, "allow-external") == ["127.0.0.1/32"]


def test_the_nodes_reach_the_api_from_their_external_addresses_and_the_rule_follows_them(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    balanced(provider)
    cluster = provider.discover()
    assert sources(lab, "allow-nodes") == sorted(f"{node.external_ip}/32" for node in cluster.nodes)
    rule = lab.api.get(FIREWALL, f"{NAME}-allow-nodes")
    assert (list(rule.target_tags), rule.allowed[0].ports) == (["controller"], ["6443"])

    request = {"project": "khw-unit", "zone": "us-west1-c", "instance": "worker-1"}
    finish(lab.api, lab.api.start(INSTANCE.client, "stop_unary", request), "a test's stop")
    assert list(updated(balanced(provider, check=True))) == [f"firewall:{NAME}-allow-nodes"]
    balanced(provider)
    assert f"{cluster.node('worker-1').external_ip}/32" not in sources(lab, "allow-nodes")


def test_a_rule_that_differs_in_more_than_its_sources_is_still_named(lab: Lab) -> None:
    from khw.errors import DiffersError

    lab.provider().ensure_compute()
    request = {"project": "khw-unit", "firewall": f"{NAME}-allow-external", "firewall_resource": {"disabled": True}}
    finish(lab.api, lab.api.start(FIREWALL.client, "patch_unary", request), "a test's patch")
    with pytest.raises(DiffersError, match="disabled is yes"):
        lab.provider().ensure_compute()


def test_nothing_is_sent_to_learn_the_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[int] = []

    class Watched(socket.socket):
        def __init__(self, family: int, kind: int) -> None:
            kinds.append(kind)
            super().__init__(family, kind)

    monkeypatch.setattr(gcp_sources.socket, "socket", Watched)
    assert own_address("http://127.0.0.1:8471") == "127.0.0.1"
    assert kinds == [socket.SOCK_DGRAM]  # connecting one only looks up a route


def test_no_way_at_all_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", lost)
    with pytest.raises(ProviderError, match=r"no way to 127\.0\.0\.9") as caught:
        own_address("http://127.0.0.9")
    assert "source_ranges" in caught.value.hint


@pytest.mark.parametrize(
    ("ranges", "wanted", "is_right"),
    [
        (["10.0.0.0/8"], ["10.1.2.3/32"], True),
        (["10.0.0.0/8", "0.0.0.0/0"], ["10.1.2.3/32"], False),
        (["10.0.0.0/9"], ["10.200.0.0/32"], False),
        (["2001:db8::/32"], ["10.200.0.0/32"], False),
        ([], ["10.200.0.0/32"], False),
    ],
)
def test_which_rules_admit(ranges: list[str], wanted: list[str], is_right: bool) -> None:
    assert admits(ranges, wanted) is is_right
