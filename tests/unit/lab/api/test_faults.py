"""Faults have Google's shapes, and meet what they are for and nothing else. Every exchange is judged (conftest)."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import requests
from emulated import PROJECT, REGION, ZONE, names
from google.api_core import exceptions as refusals

from khw.lab.api.baddays import method_id
from khw.lab.api.faults import SORTS
from khw.lab.backend import MachineState

if TYPE_CHECKING:
    from emulated import Cloud
    from fakes import FakeBackend


def fault(cloud: Cloud, sort: str, **given: Any) -> None:
    assert cloud.lab
    cloud.lab.project.faults.add(sort, **given)


def faults(cloud: Cloud, method: str, body: bytes | None = None) -> Any:
    request = urllib.request.Request(f"{cloud.endpoint}/lab/v1/faults", data=body, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.load(answer)


@pytest.mark.parametrize(
    ("verb", "path", "method"),
    [
        ("GET", "zones/z/instances", "instances.list"),
        ("GET", "aggregated/instances", "instances.aggregatedList"),
        ("POST", "zones/z/instances", "instances.insert"),
        ("GET", "zones/z/instances/i", "instances.get"),
        ("DELETE", "global/networks/n", "networks.delete"),
        ("GET", "zones/z/instances/i/getGuestAttributes", "instances.getGuestAttributes"),
        ("POST", "regions/r/healthChecks", "regionHealthChecks.insert"),
        ("POST", "zones/z/operations/o/wait", "zoneOperations.wait"),
        ("POST", "global/operations/o/wait", "globalOperations.wait"),
        ("GET", "regions/r/operations/o", "regionOperations.get"),
        ("GET", "regions/r", "regions.get"),
        ("GET", "zones", "zones.list"),
        ("GET", "", "projects.get"),
    ],
)
def test_methods_are_named_as_google_names_them(verb: str, path: str, method: str) -> None:
    assert method_id(verb, f"/compute/v1/projects/p/{path}".rstrip("/")) == method


@pytest.mark.parametrize(
    ("sort", "kind"),
    [
        ("rate-limit", refusals.TooManyRequests),
        ("rate-limit-403", refusals.Forbidden),
        ("unavailable", refusals.ServiceUnavailable),
        ("internal", refusals.InternalServerError),
        ("quota", refusals.Forbidden),
    ],
)
def test_a_refusal_is_googles_and_comes_as_often_as_asked_for(
    cloud: Cloud, sort: str, kind: type[refusals.GoogleAPICallError]
) -> None:
    fault(cloud, sort, on="networks.list", times=2, seconds=9)
    for _ in range(2):
        with pytest.raises(kind) as caught:
            list(cloud.networks.list(project=PROJECT, retry=None))
        assert caught.value.errors[0]["reason"] == SORTS[sort].reason
        assert caught.value.response.headers.get("Retry-After") == ("9" if sort == "rate-limit" else None)
    assert names(cloud.networks.list(project=PROJECT)) == []
    assert names(cloud.addresses.list(project=PROJECT, region=REGION)) == []


@pytest.mark.parametrize(
    ("sort", "code", "status"),
    [
        ("quota-late", "QUOTA_EXCEEDED", 403),
        ("exhausted", "ZONE_RESOURCE_POOL_EXHAUSTED", 503),
        ("operation-error", "INTERNAL_ERROR", 500),
    ],
)
def test_an_operation_that_fails_leaves_nothing(
    net: Cloud, backend: FakeBackend, sort: str, code: str, status: int
) -> None:
    fault(net, sort, on="instances.insert", name="worker-*")
    operation = net.insert_machine("worker-0")
    assert net.failed(operation).code == code
    assert net.wait(operation).http_error_status_code == status
    assert "worker-0" not in backend.states
    with pytest.raises(refusals.NotFound):
        net.instances.get(project=PROJECT, zone=ZONE, instance="worker-0")
    net.machine("worker-0")


def test_a_fault_for_one_machine_leaves_the_others_alone(net: Cloud) -> None:
    fault(net, "exhausted", name="worker-1")
    net.machine("worker-0")
    net.failed(net.insert_machine("worker-1"))
    net.machine("worker-1")


def test_an_operation_can_fail_to_delete(net: Cloud) -> None:
    net.machine("worker-0")
    fault(net, "operation-error", on="instances.delete")
    delete = net.instances.delete_unary
    assert net.failed(delete(project=PROJECT, zone=ZONE, instance="worker-0")).code == "INTERNAL_ERROR"
    assert net.instances.get(project=PROJECT, zone=ZONE, instance="worker-0").status == "RUNNING"
    net.done(delete(project=PROJECT, zone=ZONE, instance="worker-0"))


def test_a_machine_that_never_boots_shows_as_running_until_it_is_reset(net: Cloud, backend: FakeBackend) -> None:
    fault(net, "never-boots")
    assert net.machine("worker-0").status == "RUNNING"
    assert backend.states["worker-0"] is MachineState.STOPPED
    where = {"project": PROJECT, "zone": ZONE, "instance": "worker-0"}
    backend.tell("worker-0")  # the real backend sees a moment later that it has ended
    assert net.instances.get(**where).status == "RUNNING"
    with pytest.raises(refusals.NotFound):
        net.instances.get_guest_attributes(request={**where, "query_path": "hostkeys/"})
    net.done(net.instances.reset_unary(**where))
    assert backend.states["worker-0"] is MachineState.RUNNING
    assert net.instances.get_guest_attributes(request={**where, "query_path": "hostkeys/"}).query_value.items


def test_lists_that_lag_show_what_was_and_gets_what_is(cloud: Cloud) -> None:
    cloud.network("old")
    fault(cloud, "stale-lists", on="networks.*", seconds=0.05)
    while names(cloud.networks.list(project=PROJECT)) != ["old"]:
        pass
    assert cloud.lab
    cloud.lab.project.faults.clear()
    fault(cloud, "stale-lists", on="networks.*", seconds=60)
    cloud.network("new")
    assert names(cloud.networks.list(project=PROJECT)) == []
    assert cloud.networks.get(project=PROJECT, network="new").name == "new"
    cloud.done(cloud.networks.delete_unary(project=PROJECT, network="old"))
    assert names(cloud.networks.list(project=PROJECT)) == ["old"]
    with pytest.raises(refusals.NotFound):
        cloud.networks.get(project=PROJECT, network="old")


def test_an_answer_that_is_lost_was_done(cloud: Cloud) -> None:
    fault(cloud, "lost-answer", on="networks.insert")
    with pytest.raises((requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        cloud.network()
    assert names(cloud.networks.list(project=PROJECT)) == ["net"]


def test_an_api_that_is_silent_does_nothing(cloud: Cloud) -> None:
    fault(cloud, "silence", on="networks.insert", seconds=30)
    with pytest.raises(requests.exceptions.ReadTimeout):
        cloud.networks.insert_unary(project=PROJECT, network_resource={"name": "net"}, timeout=0.2)
    assert names(cloud.networks.list(project=PROJECT)) == []


def test_faults_are_asked_for_listed_and_forgotten_beside_the_compute_api(cloud: Cloud) -> None:
    row = faults(cloud, "POST", b'{"sort": "unavailable", "on": "networks.list"}')
    assert (row["sort"], row["times"], row["met"]) == ("unavailable", 1, 0)
    with pytest.raises(refusals.ServiceUnavailable):
        list(cloud.networks.list(project=PROJECT, retry=None))
    (row,) = faults(cloud, "GET")["faults"]
    assert (row["met"], row["over"]) == (1, True)
    assert faults(cloud, "DELETE") == {"faults": []}


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"sort": "nope"}', b'{"sort": "quota", "times": -1}', b'{"sort": "quota", "colour": "red"}'],
)
def test_what_is_no_fault_is_refused(cloud: Cloud, body: bytes) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        faults(cloud, "POST", body)
    assert caught.value.code == 400
    assert json.load(caught.value)["error"]["message"]
    assert faults(cloud, "GET") == {"faults": []}


def test_labels_whose_answer_is_lost_are_set_once(cloud: Cloud) -> None:
    cloud.done(cloud.addresses.insert_unary(project=PROJECT, region=REGION, address_resource={"name": "a"}))
    seen = cloud.addresses.get(project=PROJECT, region=REGION, address="a")
    request = {
        "project": PROJECT,
        "region": REGION,
        "resource": "a",
        "request_id": "12345678-1234-1234-1234-123456789012",
        "region_set_labels_request_resource": {"labels": {"a": "b"}, "label_fingerprint": seen.label_fingerprint},
    }
    first, again = (cloud.addresses.set_labels_unary(request=request) for _ in range(2))
    assert first.name == again.name
    assert first.client_operation_id == request["request_id"]
    cloud.done(again)


def test_a_change_that_fails_leaves_all_as_it_was(cloud: Cloud) -> None:
    cloud.done(cloud.addresses.insert_unary(project=PROJECT, region=REGION, address_resource={"name": "a"}))
    before = cloud.addresses.get(project=PROJECT, region=REGION, address="a")
    fault(cloud, "operation-error", on="addresses.setLabels")
    body = {"labels": {"a": "b"}, "label_fingerprint": before.label_fingerprint}
    place = {"project": PROJECT, "region": REGION, "resource": "a"}
    error = cloud.failed(cloud.addresses.set_labels_unary(**place, region_set_labels_request_resource=body))
    assert error.code == "INTERNAL_ERROR"
    assert cloud.addresses.get(project=PROJECT, region=REGION, address="a") == before
    cloud.done(cloud.addresses.set_labels_unary(**place, region_set_labels_request_resource=body))
