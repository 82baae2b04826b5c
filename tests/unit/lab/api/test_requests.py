"""Requests, held at run time against Google's own description: what is none of the API's is refused as Google does."""

from __future__ import annotations

import json

import discovery
import httpx
import pytest
from emulated import PROJECT, served

from khw.lab.api.description import description, understood_request
from khw.lab.api.problems import ApiError

FIREWALL = {"name": "f", "network": "global/networks/net", "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}]}


def refusal(method, body, query=()):
    with pytest.raises(ApiError) as caught:
        understood_request(method, body, query)
    assert caught.value.status == 400
    return caught.value.reason, caught.value.message


def test_the_lab_has_googles_description_of_all_that_it_serves():
    ours, googles = description(), discovery.extract(discovery.served())
    assert ours["methods"].keys() == googles["methods"].keys()
    if ours["revision"] == googles["revision"]:
        assert ours == googles
    for name, row in ours["methods"].items():  # Google adds, and takes nothing away
        assert row["body"] == googles["methods"][name]["body"]
        assert set(row["query"]) <= set(googles["methods"][name]["query"])
    for name, schema in ours["schemas"].items():
        assert schema.keys() <= googles["schemas"][name].keys()


def test_a_request_of_the_right_shape_is_taken_as_it_is():
    assert understood_request("firewalls.insert", FIREWALL, {"requestId": "1", "alt": "json"}) == FIREWALL


@pytest.mark.parametrize(
    ("method", "body", "message"),
    [
        ("firewalls.insert", FIREWALL | {"allow": []}, "Unknown name \"allow\" at 'resource': Cannot find field."),
        (
            "firewalls.insert",
            FIREWALL | {"allowed": [{"protocol": "tcp"}]},
            "Unknown name \"protocol\" at 'resource.allowed[0]': Cannot find field.",
        ),
        ("networks.insert", {"name": 5}, "Invalid value at 'resource.name' (TYPE_STRING), 5"),
        ("networks.insert", {"name": "n", "mtu": "wide"}, "Invalid value at 'resource.mtu' (TYPE_INT32), \"wide\""),
        ("networks.insert", {"name": "n", "mtu": 2**31}, "Invalid value at 'resource.mtu' (TYPE_INT32), 2147483648"),
        ("networks.insert", {"name": "n", "routingConfig": []}, "'resource.routingConfig' (TYPE_OBJECT), list"),
        (
            "networks.insert",
            {"name": "n", "autoCreateSubnetworks": "no"},
            "Invalid value at 'resource.autoCreateSubnetworks' (TYPE_BOOL), \"no\"",
        ),
        ("firewalls.insert", FIREWALL | {"sourceRanges": "10.0.0.0/8"}, "'resource.sourceRanges' (TYPE_LIST)"),
        (
            "instances.insert",
            {"name": "i", "labels": {"a": 1}},
            "Invalid value at 'resource.labels.a' (TYPE_STRING), 1",
        ),
        ("instanceGroups.addInstances", {"instances": [{"name": "i"}]}, "Unknown name \"name\" at 'instances[0]'"),
    ],
)
def test_what_is_none_of_the_api_is_refused_by_the_front_end(method, body, message):
    reason, said = refusal(method, body)
    assert reason == "badRequest"
    assert message in said


@pytest.mark.parametrize(
    ("method", "body", "field"),
    [
        ("firewalls.insert", FIREWALL | {"direction": "SIDEWAYS"}, "resource.direction"),
        ("addresses.insert", {"name": "a", "addressType": "PUBLIC"}, "resource.addressType"),
        ("regionHealthChecks.insert", {"name": "h", "type": "PING"}, "resource.type"),
        (
            "regionBackendServices.insert",
            {"name": "b", "backends": [{"balancingMode": "ROUND_ROBIN"}]},
            "resource.backends[0].balancingMode",
        ),
        ("routers.insert", {"name": "r", "nats": [{"type": "OPEN"}]}, "resource.nats[0].type"),
        (
            "instances.insert",
            {"name": "i", "scheduling": {"onHostMaintenance": "STAY"}},
            "scheduling.onHostMaintenance",
        ),
        ("instanceGroups.listInstances", {"instanceState": "ASLEEP"}, "instanceState"),
    ],
)
def test_a_value_that_is_none_of_an_enums_is_refused_with_those_that_are(method, body, field):
    reason, said = refusal(method, body)
    assert reason == "invalid"
    assert f"{field}'" in said
    assert "Must be one of: " in said


@pytest.mark.parametrize("method", [m for m, row in description()["methods"].items() if row["required"]])
def test_what_google_requires_has_to_be_there(method):
    assert refusal(method, {}) == ("required", "Required field 'resource' not specified")
    for field in description()["methods"][method]["required"]:
        others = {name: "x" for name in description()["methods"][method]["required"] if name != field}
        assert refusal(method, others | {"description": "d"}) == (
            "required",
            f"Required field 'resource.{field}' not specified",
        )


def test_numbers_may_come_as_texts_and_long_ones_as_numbers():
    read = understood_request("networks.insert", {"name": "n", "mtu": "1500"}, ())
    assert read["mtu"] == 1500
    disk = {"initializeParams": {"diskSizeGb": 20}}
    assert understood_request("instances.insert", {"name": "i", "disks": [disk]}, ())["disks"] == [
        {"initializeParams": {"diskSizeGb": "20"}}
    ]


def test_a_parameter_that_there_is_not_is_named():
    reason, said = refusal("networks.insert", {"name": "n"}, {"dryRun": "true"})
    assert reason == "badRequest"
    assert 'Unknown name "dryRun": Cannot bind query parameter.' in said


def test_the_answer_has_googles_shape(tmp_path, backend):
    with served(tmp_path, backend) as (cloud, _):  # the judge would refuse these requests
        url = f"{cloud.endpoint}/compute/v1/projects/{PROJECT}/global/networks"
        answer = httpx.post(url, content=json.dumps({"name": "n", "colour": "red"}), trust_env=False)
    message = "Invalid JSON payload received. Unknown name \"colour\" at 'resource': Cannot find field."
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "code": 400,
        "message": message,
        "errors": [{"message": message, "domain": "global", "reason": "badRequest"}],
        "status": "INVALID_ARGUMENT",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": "resource", "description": message}],
            }
        ],
    }
