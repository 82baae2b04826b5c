from __future__ import annotations

import pytest
from emulated import PROJECT, REGION, names
from google.api_core import exceptions
from google.cloud import compute_v1 as compute

from khw.lab.backend import Nat

THERE = {"project": PROJECT, "region": REGION}


def reserve(cloud, name="out"):
    cloud.done(cloud.addresses.insert_unary(address_resource=compute.Address(name=name), **THERE))
    return cloud.addresses.get(address=name, **THERE).address


def nat(**changes):
    fields = {
        "name": "nat",
        "nat_ip_allocate_option": "MANUAL_ONLY",
        "nat_ips": [f"regions/{REGION}/addresses/out"],
        "source_subnetwork_ip_ranges_to_nat": "ALL_SUBNETWORKS_ALL_IP_RANGES",
    }
    return compute.RouterNat(**(fields | changes))


def insert(cloud, *nats, name="router"):
    resource = compute.Router(name=name, network="global/networks/net", nats=list(nats))
    return cloud.routers.insert_unary(router_resource=resource, **THERE)


def test_a_router_with_nat_is_made_shown_listed_and_removed(net, backend):
    address = reserve(net)
    net.done(insert(net, nat()))
    assert backend.network.nats == (Nat(network="net", address=address, subnets=None),)
    router = net.routers.get(router="router", **THERE)
    assert (router.nats[0].type_, list(router.nats[0].endpoint_types)) == ("PUBLIC", ["ENDPOINT_TYPE_VM"])
    assert names(net.routers.list(**THERE)) == ["router"]
    assert dict(net.routers.aggregated_list(project=PROJECT))[f"regions/{REGION}"].routers
    net.done(net.routers.delete_unary(router="router", **THERE))
    assert backend.network.nats == ()


def test_nat_is_added_and_taken_away_by_patch(net, backend):
    reserve(net)
    net.done(insert(net))
    assert backend.network.nats == ()
    net.done(net.routers.patch_unary(router="router", router_resource=compute.Router(nats=[nat()]), **THERE))
    assert len(backend.network.nats) == 1


def test_nat_may_be_for_some_subnets_only(net, backend):
    reserve(net)
    some = [compute.RouterNatSubnetworkToNat(name=f"regions/{REGION}/subnetworks/sub")]
    net.done(insert(net, nat(source_subnetwork_ip_ranges_to_nat="LIST_OF_SUBNETWORKS", subnetworks=some)))
    assert backend.network.nats[0].subnets == ("sub",)


def test_what_a_router_stands_on_cannot_go_before_it(net):
    reserve(net)
    net.done(insert(net, nat()))
    assert net.addresses.get(address="out", **THERE).status == "IN_USE"
    with pytest.raises(exceptions.BadRequest, match="routers/router"):
        net.addresses.delete_unary(address="out", **THERE)
    net.done(net.subnetworks.delete_unary(subnetwork="sub", **THERE))
    with pytest.raises(exceptions.BadRequest, match="routers/router"):
        net.networks.delete_unary(network="net", project=PROJECT)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": ""}, "name"),
        ({"nat_ip_allocate_option": "AUTO_ONLY"}, "MANUAL_ONLY"),
        ({"nat_ips": []}, "one reserved address"),
        ({"nat_ips": [f"regions/{REGION}/addresses/none"]}, "addresses/none"),
        ({"source_subnetwork_ip_ranges_to_nat": "LIST_OF_SUBNETWORKS"}, "subnetworks"),
    ],
)
def test_a_nat_that_cannot_be_is_refused_in_words(net, changes, says):
    reserve(net)
    with pytest.raises((exceptions.BadRequest, exceptions.NotFound), match=says):
        insert(net, nat(**changes))


def test_an_address_and_a_network_have_one_nat(net):
    reserve(net)
    reserve(net, "other")
    net.done(insert(net, nat()))
    with pytest.raises(exceptions.BadRequest, match="in use"):
        insert(net, nat(), name="second")
    with pytest.raises(exceptions.BadRequest, match="has a NAT in router"):
        insert(net, nat(nat_ips=[f"regions/{REGION}/addresses/other"]), name="second")


def test_what_is_no_nat_is_said_to_be_missing_here(net):
    resource = compute.Router(name="r", network="global/networks/net", bgp=compute.RouterBgp(asn=64512))
    with pytest.raises(exceptions.BadRequest, match="NAT only: no 'bgp'"):
        net.routers.insert_unary(router_resource=resource, **THERE)
