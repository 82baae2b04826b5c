"""
A client that nobody here wrote, and Google did not either: Apache Libcloud's driver for Compute Engine.

It speaks to the API without Google's libraries, follows selfLinks, polls operations and reads every field that it
shows; what it asks and gets is judged by Google's description like everything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from emulated import PROJECT, REGION, ZONE
from libcloud.common import google
from libcloud.common.google import InvalidRequestError, ResourceNotFoundError
from libcloud.compute.drivers.gce import GCEConnection, GCENodeDriver
from libcloud.compute.types import NodeState

if TYPE_CHECKING:
    from emulated import Cloud


class Token:
    """Credentials that nobody asks for: the lab takes all."""

    access_token = "anything"  # noqa: S105 - it opens nothing


@pytest.fixture
def gce(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> GCENodeDriver:
    monkeypatch.setattr(google, "GoogleOAuth2Credential", lambda *_, **__: Token())
    monkeypatch.setattr(google.GoogleBaseConnection, "poll_interval", 0.05)
    monkeypatch.setattr(GCEConnection, "host", "127.0.0.1")
    driver = GCENodeDriver("khw@lab.invalid", "-", auth_type="SA", project=PROJECT, secure=False)
    driver.connection.port = int(cloud.endpoint.rpartition(":")[2])
    driver.connection.connect()
    driver.zone = driver.ex_get_zone(ZONE)
    driver.region = driver.ex_get_region(REGION)
    return driver


def make_network(gce: GCENodeDriver) -> Any:
    gce.ex_create_network("net", None, mode="custom", description="a network")
    return gce.ex_create_subnetwork("sub", "10.240.0.0/24", "net", region=REGION)


def make_node(gce: GCENodeDriver, name: str = "worker-0", **more: Any) -> Any:
    return gce.create_node(
        name,
        "e2-standard-2",
        gce.ex_get_image_from_family("debian-12", ["debian-cloud"]),
        ex_network="net",
        ex_subnetwork="sub",
        ex_tags=["worker"],
        ex_metadata={"items": [{"key": "pod-cidr", "value": "10.200.0.0/24"}]},
        ex_labels={"khw-cluster": "c"},
        ex_can_ip_forward=True,
        use_existing_disk=False,
        **more,
    )


def test_it_finds_what_is_there_without_being_made(gce: GCENodeDriver) -> None:
    assert {zone.name for zone in gce.ex_list_zones()} == {f"{REGION}-a", f"{REGION}-b", f"{REGION}-c"}
    assert [region.name for region in gce.ex_list_regions()] == [REGION]
    size = next(row for row in gce.list_sizes(ZONE) if row.name == "e2-standard-2")
    assert (size.ram, size.extra["guestCpus"]) == (8192, 2)
    assert gce.ex_get_image_from_family("debian-13", ["debian-cloud"]).name.startswith("debian-13-")
    assert gce.ex_get_project().quotas


def test_it_makes_a_network_with_rules_routes_and_an_address_and_removes_them(gce: GCENodeDriver) -> None:
    subnet = make_network(gce)
    assert (subnet.cidr, subnet.network.name) == ("10.240.0.0/24", "net")
    rule = gce.ex_create_firewall(
        "ssh", [{"IPProtocol": "tcp", "ports": ["22"]}], network="net", source_ranges=["192.0.2.0/24"]
    )
    assert (rule.source_ranges, rule.direction, rule.priority) == (["192.0.2.0/24"], "INGRESS", 1000)
    address = gce.ex_create_address("api", region=REGION)
    assert address.address
    assert gce.ex_get_address("api", region=REGION).extra["status"] == "RESERVED"
    node = make_node(gce)
    route = gce.ex_create_route("pods", "10.200.0.0/24", network="net", next_hop=node)
    assert route.dest_range == "10.200.0.0/24"
    assert {row.name for row in gce.ex_list_firewalls()} == {"ssh"}
    assert "pods" in {row.name for row in gce.ex_list_routes()}

    with pytest.raises(InvalidRequestError, match="already being used by"):
        gce.ex_destroy_subnetwork("sub", region=REGION)
    assert gce.ex_destroy_route(route)
    assert gce.destroy_node(node)
    assert gce.ex_destroy_firewall(rule)
    assert gce.ex_destroy_address(address)
    assert gce.ex_destroy_subnetwork("sub", region=REGION)
    assert gce.ex_destroy_network(gce.ex_get_network("net"))
    with pytest.raises(ResourceNotFoundError):
        gce.ex_get_network("net")


def test_it_makes_a_machine_reads_it_and_lets_it_live(gce: GCENodeDriver) -> None:
    make_network(gce)
    node = make_node(gce, internal_ip="10.240.0.20")
    assert (node.state, node.private_ips) == (NodeState.RUNNING, ["10.240.0.20"])
    assert node.public_ips[0]
    assert node.extra["labels"] == {"khw-cluster": "c"}
    assert node.extra["tags"] == ["worker"]
    assert [row.name for row in gce.list_nodes()] == ["worker-0"]
    assert gce.ex_set_node_metadata(node, {"pod-cidr": "10.200.9.0/24"})
    assert gce.ex_set_node_labels(gce.ex_get_node("worker-0"), {"team": "a"})
    fresh = gce.ex_get_node("worker-0")
    assert fresh.extra["labels"] == {"team": "a"}
    assert {"key": "pod-cidr", "value": "10.200.9.0/24"} in fresh.extra["metadata"]["items"]
    assert gce.ex_stop_node(fresh)
    assert gce.ex_get_node("worker-0").state == NodeState.STOPPED
    assert gce.ex_start_node(fresh)
    assert gce.ex_get_serial_output(fresh)
    assert gce.reboot_node(fresh)


def test_it_hears_no_in_its_own_words(gce: GCENodeDriver) -> None:
    from libcloud.common.google import GoogleBaseError, ResourceExistsError

    make_network(gce)
    with pytest.raises(ResourceExistsError):
        gce.ex_create_network("net", None, mode="custom")
    with pytest.raises(ResourceNotFoundError):
        gce.ex_get_node("nobody", ZONE)
    with pytest.raises(GoogleBaseError, match="ipCidrRange"):
        gce.ex_create_subnetwork("two", "10.240.0.0/25", "net", region=REGION)


def test_a_fault_reaches_it_as_google_would_say_it(gce: GCENodeDriver, cloud: Cloud) -> None:
    from libcloud.common.google import GoogleBaseError, QuotaExceededError

    make_network(gce)
    assert cloud.lab
    cloud.lab.project.faults.add("quota-late", name="worker-0")
    cloud.lab.project.faults.add("exhausted", name="worker-1")
    with pytest.raises(QuotaExceededError):
        make_node(gce)
    with pytest.raises(GoogleBaseError, match="does not have enough resources"):
        make_node(gce, "worker-1")
    assert make_node(gce).state == NodeState.RUNNING


def test_a_disk_comes_with_a_machine_and_goes_with_it(gce: GCENodeDriver) -> None:
    make_network(gce)
    node = make_node(gce)
    assert [(disk.name, disk.extra["status"]) for disk in gce.list_volumes()] == [("worker-0", "READY")]
    with pytest.raises(InvalidRequestError, match="already being used by"):
        gce.destroy_volume(gce.ex_get_volume("worker-0"))
    gce.destroy_node(node)
    assert gce.list_volumes() == []
