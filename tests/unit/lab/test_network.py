from __future__ import annotations

from dataclasses import replace

from labnet import ADDRESSES, NETWORK, balancer, vpc

from khw.lab.backend import Nat
from khw.lab.firewall import interface
from khw.lab.network import Plug, addresses, guest_batch, routes

LINKS = {interface(name) for name in ADDRESSES}
PLUG = Plug(
    machine="worker-0",
    internal_ip="10.240.0.20",
    external_ip="127.240.0.20",
    gateway="10.240.0.1",
    block="127.240.0.0/24",
)


def test_the_router_has_gateways_balancers_resolver_and_prober() -> None:
    assert addresses(vpc(balancers=(balancer(),))) == {
        "10.240.0.1/32",
        "127.240.0.100/32",
        "169.254.169.254/32",
        "35.191.0.1/32",
    }


def test_each_machine_and_each_pod_range_has_a_route() -> None:
    device = interface("worker-0")
    found = routes(vpc(), LINKS)
    assert f"10.240.0.20 dev {device} proto 200 metric 0 src 10.240.0.1" in found
    assert f"127.240.0.20 via 10.240.0.20 dev {device} proto 200 metric 0 onlink" in found
    assert f"10.200.0.0/24 via 10.240.0.20 dev {device} proto 200 metric 1000 onlink" in found
    assert len(found) == 2 * len(ADDRESSES) + 2


def test_there_is_no_route_through_a_machine_that_is_down() -> None:
    found = routes(vpc(), LINKS - {interface("worker-0")})
    assert not any("10.240.0.20" in line for line in found)


def test_nothing_leads_out() -> None:
    assert not any(line.startswith(("default", "0.0.0.0/")) for line in routes(vpc(), LINKS))


def test_a_machine_knows_only_its_gateway_and_the_way_to_external_addresses() -> None:
    lines = guest_batch(PLUG).splitlines()
    assert [line for line in lines if line.startswith("route add")] == [
        "route add 10.240.0.1 dev eth0",
        "route add default via 10.240.0.1 dev eth0",
        "route add 127.240.0.0/24 via 10.240.0.1 dev eth0 src 127.240.0.20",
    ]


def test_a_machine_without_external_address_asks_external_ones_from_a_stand_in() -> None:
    bare = Plug(machine="m", internal_ip="10.240.0.9", external_ip=None, gateway="10.240.0.1", block="127.240.0.0/24")
    text = guest_batch(bare)
    assert "route add 127.240.0.0/24 via 10.240.0.1 dev eth0 src 127.176.0.9" in text
    assert "addr add 127.176.0.9/32 dev lo" in text
    assert "None" not in text


def test_what_comes_back_to_a_stand_in_has_a_route_and_nats_address_is_the_routers() -> None:
    whole = vpc()
    private = replace(whole.attachments[2], external_ip=None)
    state = replace(
        whole,
        attachments=(*whole.attachments[:2], private),
        nats=(Nat(network=NETWORK, address="127.240.0.50", subnets=None),),
    )
    device = interface("worker-0")
    assert f"127.176.0.20 via 10.240.0.20 dev {device} proto 200 metric 0 onlink" in routes(state, LINKS)
    assert "127.240.0.50/32" in addresses(state)
