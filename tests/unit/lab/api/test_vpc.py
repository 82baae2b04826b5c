from __future__ import annotations

import pytest
from emulated import PROJECT, REGION, ZONE, names
from google.api_core import exceptions
from google.cloud import compute_v1 as compute

from khw.lab.backend import Firewall, Route, Subnet, Traffic

HERE = {"project": PROJECT}
THERE = {"project": PROJECT, "region": REGION}


def insert_route(cloud, name="r", **fields):
    fields = {"network": "global/networks/net", "dest_range": "10.200.0.0/24"} | fields
    route = compute.Route(name=name, **fields)
    return cloud.routes.insert_unary(route_resource=route, **HERE)


def insert_firewall(cloud, name="fw", **fields):
    rule = compute.Firewall(name=name, network="global/networks/net", **fields)
    return cloud.firewalls.insert_unary(firewall_resource=rule, **HERE)


# Networks and subnetworks


def test_a_network_comes_with_its_default_route_and_takes_it_along(cloud):
    cloud.network()
    (route,) = cloud.routes.list(**HERE)
    assert route.name.startswith("default-route-")
    assert route.dest_range == "0.0.0.0/0"
    assert route.next_hop_gateway.endswith("/global/gateways/default-internet-gateway")
    assert route.priority == 1000
    cloud.done(cloud.networks.delete_unary(network="net", **HERE))
    assert list(cloud.routes.list(**HERE)) == []
    assert list(cloud.networks.list(**HERE)) == []


def test_a_subnet_comes_with_a_route_that_nobody_can_delete(net, backend):
    assert backend.network.subnets == (Subnet(name="sub", network="net", cidr="10.240.0.0/24"),)
    assert net.subnetworks.get(subnetwork="sub", **THERE).gateway_address == "10.240.0.1"
    assert names([net.networks.get(network="net", **HERE)]) == ["net"]
    assert len(net.networks.get(network="net", **HERE).subnetworks) == 1
    (route,) = (row for row in net.routes.list(**HERE) if row.next_hop_network)
    assert (route.dest_range, route.priority) == ("10.240.0.0/24", 0)
    with pytest.raises(exceptions.BadRequest, match="local route"):
        net.routes.delete_unary(route=route.name, **HERE)


def test_a_network_in_use_cannot_be_deleted_and_the_error_names_the_user(net):
    with pytest.raises(exceptions.BadRequest, match="regions/us-west1/subnetworks/sub") as caught:
        net.networks.delete_unary(network="net", **HERE)
    assert caught.value.errors[0]["reason"] == "resourceInUseByAnotherResource"
    net.machine("worker-0")
    with pytest.raises(exceptions.BadRequest, match="instances/worker-0"):
        net.subnetworks.delete_unary(subnetwork="sub", **THERE)


def test_a_name_that_is_taken_is_a_conflict(net):
    with pytest.raises(exceptions.Conflict) as caught:
        net.network()
    assert caught.value.errors[0]["reason"] == "alreadyExists"
    assert caught.value.message.endswith(f"The resource 'projects/{PROJECT}/global/networks/net' already exists")


@pytest.mark.parametrize("cidr", ["10.240.0.0/16", "10.240.0.128/25", "10.1.0.1/24", "10.0.0.0/30", "x"])
def test_a_range_that_overlaps_or_is_none_is_refused(net, cidr):
    with pytest.raises(exceptions.BadRequest, match="ipCidrRange"):
        net.subnet("other", cidr=cidr)


def test_a_subnet_of_a_network_that_is_not_there_names_the_network(cloud):
    with pytest.raises(exceptions.NotFound, match="global/networks/net"):
        cloud.subnet()


def test_an_automatic_network_is_refused_in_words(cloud):
    resource = compute.Network(name="net", auto_create_subnetworks=True)
    with pytest.raises(exceptions.BadRequest, match="autoCreateSubnetworks"):
        cloud.networks.insert_unary(network_resource=resource, **HERE)


def test_a_network_that_the_backend_cannot_make_fails_and_is_gone(cloud, backend):
    backend.fails["apply_network"] = "no such device"
    resource = compute.Network(name="net", auto_create_subnetworks=False)
    error = cloud.failed(cloud.networks.insert_unary(network_resource=resource, **HERE))
    assert error.message == "no such device"
    del backend.fails["apply_network"]
    assert list(cloud.routes.list(**HERE)) == []
    cloud.network()


def test_a_delete_that_the_backend_cannot_do_leaves_the_resource(cloud, backend):
    cloud.network()
    backend.fails["apply_network"] = "busy"
    assert cloud.failed(cloud.networks.delete_unary(network="net", **HERE)).message == "busy"
    del backend.fails["apply_network"]
    cloud.done(cloud.networks.delete_unary(network="net", **HERE))


# Firewalls


def test_a_firewall_rule_reaches_the_backend_with_googles_defaults(net, backend):
    allowed = [
        compute.Allowed(I_p_protocol="tcp", ports=["22", "30000-32767"]),
        compute.Allowed(I_p_protocol="icmp"),
    ]
    net.done(insert_firewall(net, allowed=allowed, target_tags=["worker"]))
    assert backend.network.firewalls == (
        Firewall(
            name="fw",
            network="net",
            direction="INGRESS",
            priority=1000,
            action="allow",
            traffic=(
                Traffic(protocol="tcp", ports=("22", "30000-32767")),
                Traffic(protocol="icmp"),
            ),
            source_ranges=("0.0.0.0/0",),
            target_tags=("worker",),
        ),
    )
    net.done(net.firewalls.delete_unary(firewall="fw", **HERE))
    assert backend.network.firewalls == ()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"allowed": [compute.Allowed(I_p_protocol="tcp", ports=["99999"])]},
        {"allowed": [compute.Allowed(I_p_protocol="icmp", ports=["1"])]},
        {"allowed": [compute.Allowed(I_p_protocol="nonsense")]},
        {"allowed": [compute.Allowed(I_p_protocol="tcp")], "source_ranges": ["10.0.0.1/8"]},
        {"allowed": [compute.Allowed(I_p_protocol="tcp")], "priority": 70000},
    ],
)
def test_a_firewall_rule_that_says_nothing_sensible_is_refused(net, fields):
    with pytest.raises(exceptions.BadRequest, match="Invalid value"):
        insert_firewall(net, **fields)


# Routes


def test_a_route_reaches_the_backend_and_shows_in_the_table(net, backend):
    net.done(insert_route(net, next_hop_ip="10.240.0.20"))
    assert backend.network.routes == (
        Route(
            name="r",
            network="net",
            dest_range="10.200.0.0/24",
            next_hop_ip="10.240.0.20",
            priority=1000,
        ),
    )
    assert len(list(net.routes.list(**HERE))) == 3
    net.done(net.routes.delete_unary(route="r", **HERE))
    assert backend.network.routes == ()


def test_a_route_to_an_instance_goes_to_its_address(net, backend):
    net.machine("worker-0", address="10.240.0.20")
    net.done(insert_route(net, next_hop_instance=f"zones/{ZONE}/instances/worker-0"))
    assert backend.network.routes[0].next_hop_ip == "10.240.0.20"
    net.done(net.instances.delete_unary(instance="worker-0", zone=ZONE, **HERE))
    assert backend.network.routes == ()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"next_hop_ip": "192.168.0.1"},
        {"next_hop_ip": "10.240.0.20", "dest_range": "10.240.0.0/25"},
        {"next_hop_ip": "10.240.0.20", "dest_range": "10.200.0.1/24"},
        {"next_hop_ip": "10.240.0.20", "next_hop_gateway": "global/gateways/default-internet-gateway"},
    ],
)
def test_a_route_that_leads_nowhere_is_refused(net, fields):
    with pytest.raises(exceptions.BadRequest, match="Invalid value"):
        insert_route(net, **fields)


# Addresses


def test_an_address_is_reserved_used_and_then_protected(net, backend):
    address = compute.Address(name="static", labels={"a": "b"})
    net.done(net.addresses.insert_unary(address_resource=address, **THERE))
    seen = net.addresses.get(address="static", **THERE)
    assert (seen.address, seen.status, dict(seen.labels)) == ("127.0.0.10", "RESERVED", {"a": "b"})
    assert backend.network.addresses == ("127.0.0.10",)
    config = compute.AccessConfig(name="x", type_="ONE_TO_ONE_NAT", nat_i_p=seen.address)
    interface = compute.NetworkInterface(subnetwork=f"regions/{REGION}/subnetworks/sub", access_configs=[config])
    net.machine("worker-0", network_interfaces=[interface])
    seen = net.addresses.get(address="static", **THERE)
    assert seen.status == "IN_USE"
    assert seen.users[0].endswith("/instances/worker-0")
    with pytest.raises(exceptions.BadRequest, match="instances/worker-0"):
        net.addresses.delete_unary(address="static", **THERE)
    with pytest.raises(exceptions.BadRequest, match="already in-use"):
        net.insert_machine("worker-1", network_interfaces=[interface])
    net.done(net.instances.stop_unary(instance="worker-0", zone=ZONE, **HERE))
    stopped = net.instances.get(instance="worker-0", zone=ZONE, **HERE)
    assert stopped.network_interfaces[0].access_configs[0].nat_i_p == seen.address
    net.done(net.instances.delete_unary(instance="worker-0", zone=ZONE, **HERE))
    net.done(net.addresses.delete_unary(address="static", **THERE))


def test_an_external_address_that_nobody_reserved_cannot_be_used(net):
    config = compute.AccessConfig(name="x", type_="ONE_TO_ONE_NAT", nat_i_p="127.0.0.99")
    interface = compute.NetworkInterface(subnetwork=f"regions/{REGION}/subnetworks/sub", access_configs=[config])
    with pytest.raises(exceptions.BadRequest, match="not found in the region"):
        net.insert_machine("worker-0", network_interfaces=[interface])


def test_an_internal_address_is_taken_from_its_subnet_and_kept_from_others(net):
    address = compute.Address(name="inside", address_type="INTERNAL", subnetwork=f"regions/{REGION}/subnetworks/sub")
    net.done(net.addresses.insert_unary(address_resource=address, **THERE))
    assert net.addresses.get(address="inside", **THERE).address == "10.240.0.2"
    assert net.machine("worker-0").network_interfaces[0].network_i_p == "10.240.0.3"


def test_two_inserts_at_once_never_get_the_same_address(net, backend):
    backend.gate.clear()
    waiting = [net.insert_machine(f"worker-{number}") for number in range(5)]
    backend.gate.set()
    for operation in waiting:
        net.done(operation)
    assert len({spec.internal_ip for spec in backend.specs.values()}) == 5
    assert len({spec.external_ip for spec in backend.specs.values()}) == 5


def test_inserts_at_once_share_the_work_on_the_network(net, backend):
    backend.gate.clear()
    before = backend.applied
    allowed = [compute.Allowed(I_p_protocol="tcp")]
    waiting = [insert_firewall(net, f"fw-{number}", allowed=allowed) for number in range(10)]
    backend.gate.set()
    for operation in waiting:
        net.done(operation)
    assert len(backend.network.firewalls) == 10
    assert backend.applied - before <= 3
