from __future__ import annotations

import pytest
from emulated import PROJECT, REGION, ZONE, names
from google.api_core import exceptions
from google.cloud import compute_v1 as compute

from khw.lab.backend import Health, HealthCheck

HERE = {"project": PROJECT, "region": REGION}
GROUP = {"project": PROJECT, "zone": ZONE, "instance_group": "controllers"}


def insert_group(cloud):
    group = compute.InstanceGroup(name="controllers", network="global/networks/net")
    insert = cloud.instance_groups.insert_unary
    cloud.done(insert(project=PROJECT, zone=ZONE, instance_group_resource=group))


def add(cloud, *members):
    rows = [compute.InstanceReference(instance=f"zones/{ZONE}/instances/{name}") for name in members]
    request = compute.InstanceGroupsAddInstancesRequest(instances=rows)
    method = cloud.instance_groups.add_instances_unary
    return method(instance_groups_add_instances_request_resource=request, **GROUP)


def insert_check(cloud):
    https = compute.HTTPSHealthCheck(port=6443, request_path="/readyz")
    check = compute.HealthCheck(
        name="api", type_="HTTPS", https_health_check=https, check_interval_sec=2, timeout_sec=1
    )
    cloud.done(cloud.region_health_checks.insert_unary(health_check_resource=check, **HERE))


def insert_service(cloud):
    service = compute.BackendService(
        name="api",
        protocol="TCP",
        load_balancing_scheme="EXTERNAL",
        health_checks=[f"regions/{REGION}/healthChecks/api"],
        backends=[compute.Backend(group=f"zones/{ZONE}/instanceGroups/controllers")],
    )
    cloud.done(cloud.region_backend_services.insert_unary(backend_service_resource=service, **HERE))


def insert_rule(cloud, name="api", **fields):
    fields = {"port_range": "6443", "backend_service": f"regions/{REGION}/backendServices/api"} | fields
    rule = compute.ForwardingRule(name=name, I_p_protocol="TCP", load_balancing_scheme="EXTERNAL", **fields)
    return cloud.forwarding_rules.insert_unary(forwarding_rule_resource=rule, **HERE)


@pytest.fixture
def balanced(net):
    """A load balancer as chapter 8 makes it, before one machine."""
    net.machine("controller-0")
    insert_group(net)
    net.done(add(net, "controller-0"))
    insert_check(net)
    insert_service(net)
    address = compute.Address(name="static")
    net.done(net.addresses.insert_unary(address_resource=address, **HERE))
    net.done(insert_rule(net, I_p_address=f"regions/{REGION}/addresses/static"))
    return net


def health(cloud):
    group = compute.ResourceGroupReference(group=f"zones/{ZONE}/instanceGroups/controllers")
    method = cloud.region_backend_services.get_health
    return method(backend_service="api", resource_group_reference_resource=group, **HERE)


def test_the_parts_together_are_one_load_balancer_of_the_backend(balanced, backend):
    (balancer,) = backend.network.load_balancers
    assert balancer.address == balanced.addresses.get(address="static", **HERE).address
    assert (balancer.ports, balancer.machines) == (("6443",), ("controller-0",))
    assert balancer.health_check == HealthCheck(kind="HTTPS", port=6443, path="/readyz", interval=2, timeout=1)
    seen = balanced.forwarding_rules.get(forwarding_rule="api", **HERE)
    assert seen.port_range == "6443-6443"
    assert balanced.addresses.get(address="static", **HERE).status == "IN_USE"


def test_health_is_what_the_backend_sees(balanced, backend):
    assert [row.health_state for row in health(balanced).health_status] == ["UNHEALTHY"]
    backend.health["controller-0"] = Health.HEALTHY
    (row,) = health(balanced).health_status
    assert row.health_state == "HEALTHY"
    assert row.instance.endswith("/instances/controller-0")


def test_members_come_and_go_and_a_deleted_instance_goes_too(balanced, backend):
    balanced.machine("controller-1")
    balanced.done(add(balanced, "controller-1"))
    assert backend.network.load_balancers[0].machines == ("controller-0", "controller-1")
    with pytest.raises(exceptions.BadRequest, match="already a member"):
        add(balanced, "controller-1")
    rows = [compute.InstanceReference(instance=f"zones/{ZONE}/instances/controller-1")]
    request = compute.InstanceGroupsRemoveInstancesRequest(instances=rows)
    remove = balanced.instance_groups.remove_instances_unary
    balanced.done(remove(instance_groups_remove_instances_request_resource=request, **GROUP))
    with pytest.raises(exceptions.BadRequest, match="not a member"):
        remove(instance_groups_remove_instances_request_resource=request, **GROUP)
    balanced.done(balanced.instances.delete_unary(project=PROJECT, zone=ZONE, instance="controller-0"))
    assert backend.network.load_balancers[0].machines == ()
    assert balanced.instance_groups.get(**GROUP).size == 0


def test_members_are_listed_with_their_status(balanced):
    request = compute.InstanceGroupsListInstancesRequest(instance_state="ALL")
    listing = balanced.instance_groups.list_instances
    (row,) = listing(instance_groups_list_instances_request_resource=request, **GROUP)
    assert row.status == "RUNNING"
    balanced.done(balanced.instances.stop_unary(project=PROJECT, zone=ZONE, instance="controller-0"))
    request = compute.InstanceGroupsListInstancesRequest(instance_state="RUNNING")
    assert list(listing(instance_groups_list_instances_request_resource=request, **GROUP)) == []


def test_named_ports_are_set_from_the_version_of_now(balanced):
    old = balanced.instance_groups.get(**GROUP).fingerprint
    ports = [compute.NamedPort(name="api", port=6443)]
    request = compute.InstanceGroupsSetNamedPortsRequest(named_ports=ports, fingerprint=old)
    method = balanced.instance_groups.set_named_ports_unary
    balanced.done(method(instance_groups_set_named_ports_request_resource=request, **GROUP))
    assert balanced.instance_groups.get(**GROUP).named_ports[0].port == 6443
    with pytest.raises(exceptions.PreconditionFailed):
        method(instance_groups_set_named_ports_request_resource=request, **GROUP)


def test_nothing_goes_before_what_stands_on_it_and_then_all_of_it_goes(balanced, backend):
    cloud = balanced
    steps = [
        lambda: cloud.forwarding_rules.delete_unary(forwarding_rule="api", **HERE),
        lambda: cloud.region_backend_services.delete_unary(backend_service="api", **HERE),
        lambda: cloud.region_health_checks.delete_unary(health_check="api", **HERE),
        lambda: cloud.instance_groups.delete_unary(**GROUP),
        lambda: cloud.addresses.delete_unary(address="static", **HERE),
    ]
    for blocked in steps[1:3] + steps[3:4] + steps[4:]:
        with pytest.raises(exceptions.BadRequest) as caught:
            blocked()
        assert caught.value.errors[0]["reason"] == "resourceInUseByAnotherResource"
    for step in steps:
        cloud.done(step())
    assert backend.network.load_balancers == ()
    assert list(cloud.region_backend_services.list(**HERE)) == []


def test_a_rule_without_an_address_takes_a_free_one(balanced):
    balanced.done(insert_rule(balanced, "other", port_range="8000-8010"))
    rules = {rule.name: rule for rule in balanced.forwarding_rules.list(**HERE)}
    assert rules["other"].I_p_address != rules["api"].I_p_address
    assert names(rules.values()) == ["api", "other"]


@pytest.mark.parametrize(
    "fields",
    [
        {"port_range": ""},
        {"I_p_address": "127.0.0.200"},
        {"load_balancing_scheme": "INTERNAL"},
        {"I_p_protocol": "UDP"},
    ],
)
def test_a_rule_that_the_lab_cannot_serve_is_refused(balanced, fields):
    fields = {"port_range": "80", "backend_service": f"regions/{REGION}/backendServices/api"} | fields
    rule = compute.ForwardingRule(name="other", **fields)
    with pytest.raises(exceptions.BadRequest, match="Invalid value"):
        balanced.forwarding_rules.insert_unary(forwarding_rule_resource=rule, **HERE)


def test_a_check_that_takes_longer_than_its_interval_is_refused(cloud):
    check = compute.HealthCheck(name="api", type_="TCP", check_interval_sec=2, timeout_sec=5)
    with pytest.raises(exceptions.BadRequest, match="timeoutSec"):
        cloud.region_health_checks.insert_unary(health_check_resource=check, **HERE)


def test_a_service_needs_a_health_check_that_is_there(net):
    service = compute.BackendService(name="api", health_checks=[f"regions/{REGION}/healthChecks/none"])
    with pytest.raises(exceptions.NotFound, match="healthChecks/none"):
        net.region_backend_services.insert_unary(backend_service_resource=service, **HERE)


def test_a_backend_service_can_be_replaced_from_what_it_is_now_as_gcloud_adds_a_backend(balanced, backend):
    update = balanced.region_backend_services.update_unary
    seen = balanced.region_backend_services.get(backend_service="api", **HERE)
    without = compute.BackendService(seen)
    without.backends = []
    balanced.done(update(backend_service="api", backend_service_resource=without, **HERE))
    assert backend.network.load_balancers[0].machines == ()
    with pytest.raises(exceptions.PreconditionFailed):
        update(backend_service="api", backend_service_resource=seen, **HERE)
    now = balanced.region_backend_services.get(backend_service="api", **HERE)
    now.backends = seen.backends
    balanced.done(update(backend_service="api", backend_service_resource=now, **HERE))
    (balancer,) = backend.network.load_balancers
    assert balancer.machines == ("controller-0",)
    again = balanced.region_backend_services.get(backend_service="api", **HERE)
    assert (again.id, again.creation_timestamp) == (seen.id, seen.creation_timestamp)
