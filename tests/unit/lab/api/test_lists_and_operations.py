from __future__ import annotations

import threading

import pytest
from emulated import PROJECT, REGION, ZONE, Cloud, names
from google.api_core import exceptions
from google.cloud import compute_v1 as compute

HERE = {"project": PROJECT, "zone": ZONE}


@pytest.fixture
def three(net):
    waiting = [
        net.insert_machine(name, labels={"cluster": "c1", "role": role})
        for name, role in (("controller-0", "controller"), ("worker-0", "worker"), ("worker-1", "worker"))
    ]
    for operation in waiting:
        net.done(operation)
    return net


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("labels.role=worker", ["worker-0", "worker-1"]),
        ('labels.role = "worker" AND name=worker-1', ["worker-1"]),
        ("(labels.cluster=c1) (status=RUNNING)", ["controller-0", "worker-0", "worker-1"]),
        ("name eq worker-.*", ["worker-0", "worker-1"]),
        ("labels.none:*", []),
        ("NOT labels.role=worker", ["controller-0"]),
    ],
)
def test_lists_are_filtered(three, text, expected):
    request = compute.ListInstancesRequest(filter=text, **HERE)
    assert names(three.instances.list(request)) == expected


def test_a_filter_that_makes_no_sense_is_refused(three):
    with pytest.raises(exceptions.BadRequest, match="filter"):
        list(three.instances.list(compute.ListInstancesRequest(filter="(name=", **HERE)))


def test_lists_come_in_pages_that_lose_and_repeat_nothing(three):
    pages = list(three.instances.list(compute.ListInstancesRequest(max_results=2, **HERE)).pages)
    assert [names(page.items) for page in pages] == [["controller-0", "worker-0"], ["worker-1"]]


def test_a_page_goes_on_though_its_last_row_was_deleted(three):
    first = next(three.instances.list(compute.ListInstancesRequest(max_results=2, **HERE)).pages)
    three.done(three.instances.delete_unary(instance="worker-0", **HERE))
    request = compute.ListInstancesRequest(max_results=2, page_token=first.next_page_token, **HERE)
    assert names(three.instances.list(request)) == ["worker-1"]


@pytest.mark.parametrize("fields", [{"max_results": 501}, {"page_token": "nonsense"}, {"order_by": "zone"}])
def test_a_page_that_cannot_be_is_refused(three, fields):
    with pytest.raises(exceptions.BadRequest):
        list(three.instances.list(compute.ListInstancesRequest(**fields, **HERE)))


def test_the_newest_can_come_first(three):
    request = compute.ListInstancesRequest(order_by="creationTimestamp desc", max_results=1, **HERE)
    assert names(three.instances.list(request))[0] == "worker-1"
    assert len(names(three.instances.list(request))) == 3


def test_an_aggregated_list_has_a_part_for_each_place(three):
    three.machine("elsewhere", zone="us-west1-a")
    request = compute.AggregatedListInstancesRequest(project=PROJECT, max_results=2)
    found: dict[str, list[str]] = {}
    for place, part in three.instances.aggregated_list(request):
        found.setdefault(place, []).extend(names(part.instances))
        assert part.instances or part.warning.code == "NO_RESULTS_ON_PAGE"
    assert found["zones/us-west1-a"] == ["elsewhere"]
    assert found["zones/us-west1-c"] == ["controller-0", "worker-0", "worker-1"]
    assert found["zones/us-west1-b"] == []


# Operations


def test_an_operation_goes_from_pending_to_done(net, backend):
    backend.gate.clear()
    operation = net.insert_machine("worker-0")
    common = {"operation": operation.name, **HERE}
    assert net.zone_operations.get(**common).status != compute.Operation.Status.DONE
    with pytest.raises(exceptions.BadRequest):
        net.zone_operations.delete(**common)
    backend.gate.set()
    ended = net.zone_operations.wait(**common)
    assert (ended.status, ended.progress) == (compute.Operation.Status.DONE, 100)
    assert ended.target_link.endswith(f"zones/{ZONE}/instances/worker-0")
    net.zone_operations.delete(**common)
    with pytest.raises(exceptions.NotFound):
        net.zone_operations.get(**common)


def test_many_clients_wait_at_once_and_others_are_answered_meanwhile(net, backend):
    backend.gate.clear()
    operation = net.insert_machine("worker-0")
    ended = []

    def wait() -> None:
        own = Cloud(net.endpoint)
        ended.append(own.wait(operation).status)
        own.close()

    threads = [threading.Thread(target=wait) for _ in range(50)]
    for thread in threads:
        thread.start()
    assert net.instances.get(instance="worker-0", **HERE).name == "worker-0"
    assert not ended
    backend.gate.set()
    for thread in threads:
        thread.join(30)
    assert ended == [compute.Operation.Status.DONE] * 50


def test_operations_are_listed_where_they_live(net):
    assert len(names(net.global_operations.list(project=PROJECT))) == 1
    assert len(names(net.region_operations.list(project=PROJECT, region=REGION))) == 1
    assert list(net.zone_operations.list(**HERE)) == []
    parts = dict(net.global_operations.aggregated_list(project=PROJECT))
    assert len(parts["global"].operations) == 1


def test_an_operation_is_not_found_in_another_zone(net):
    operation = net.insert_machine("worker-0")
    net.done(operation)
    with pytest.raises(exceptions.NotFound):
        net.zone_operations.get(project=PROJECT, zone="us-west1-a", operation=operation.name)


def test_the_same_request_again_is_the_same_operation(cloud):
    resource = compute.Network(name="net", auto_create_subnetworks=False)
    request = compute.InsertNetworkRequest(
        project=PROJECT, network_resource=resource, request_id="6b1b39a5-8d22-4a52-a0d8-3b6ff1b1a111"
    )
    first = cloud.networks.insert_unary(request)
    assert cloud.networks.insert_unary(request).name == first.name
    cloud.done(first)
