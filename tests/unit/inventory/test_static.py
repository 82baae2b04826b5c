from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from khw.cluster.spec import Role, Spec, Static, StaticNode
from khw.errors import UsageError
from khw.inventory import provider_for
from khw.inventory.static import StaticProvider

SPEC = Spec(
    provider="static",
    static=Static(
        api_address="192.0.2.100",
        nodes=(
            StaticNode(
                name="w",
                role=Role.WORKER,
                address=IPv4Address("192.0.2.20"),
                pod_cidr=IPv4Network("10.200.0.0/24"),
                host="w.example",
                port=2222,
                user="debian",
                host_keys=("ssh-ed25519 AAAA root@w",),
            ),
            StaticNode(
                name="c", role=Role.CONTROLLER, address=IPv4Address("192.0.2.10"), host_keys=("ssh-ed25519 BBBB",)
            ),
        ),
    ),
)


def test_the_nodes_are_those_of_the_file_controllers_first() -> None:
    cluster = provider_for(SPEC, "").discover()
    assert [node.name for node in cluster.nodes] == ["c", "w"]
    assert cluster.api_url == "https://192.0.2.100:6443"


def test_a_node_is_reached_as_the_file_says() -> None:
    controller, worker = StaticProvider(SPEC).discover().nodes
    assert (controller.ssh_host, controller.ssh_port, controller.ssh_user) == ("192.0.2.10", 22, "khw")
    assert (worker.ssh_host, worker.ssh_port, worker.ssh_user) == ("w.example", 2222, "debian")
    assert (worker.internal_ip, worker.pod_cidr) == ("192.0.2.20", "10.200.0.0/24")


def test_host_keys_lose_their_comment() -> None:
    assert StaticProvider(SPEC).discover().node("w").host_keys == ("ssh-ed25519 AAAA",)


def test_nothing_is_made_or_removed() -> None:
    provider = StaticProvider(SPEC)
    cluster = provider.discover()
    assert [
        *provider.preflight(),
        *provider.ensure_compute(),
        *provider.ensure_load_balancer(cluster),
        *provider.ensure_routes(cluster),
        *provider.routes(),
        *provider.destroy(),
        *provider.leftovers(),
    ] == []


def test_without_its_section_it_says_so() -> None:
    with pytest.raises(UsageError, match="no section 'static'"):
        provider_for(Spec(provider="static"), "")
