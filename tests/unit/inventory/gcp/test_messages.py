"""khw's own messages are the library's, less the library: the same names, the same JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from google.cloud import compute_v1 as library
from google.protobuf.descriptor import FieldDescriptor

from khw.cluster.spec import Gcp
from khw.inventory.gcp import balancer as gcp_balancer
from khw.inventory.gcp import compute as gcp_compute
from khw.inventory.gcp import routes as gcp_routes
from khw.inventory.gcp.messages import FIELDS, LIST, LONG, MAP, NUMBER, PART, REAL, TEXT, TRUTH, Message, json_name

from ..conftest import KEY

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

    from khw.inventory.gcp.wanted import Wanted

    from ..conftest import Lab

# Every message that khw reads or writes; those within them follow.
KINDS = (
    "Address",
    "BackendService",
    "Firewall",
    "ForwardingRule",
    "GuestAttributes",
    "HealthCheck",
    "Image",
    "Instance",
    "InstanceGroup",
    "InstanceWithNamedPorts",
    "InstancesScopedList",
    "MachineType",
    "Network",
    "Region",
    "Route",
    "Router",
    "Subnetwork",
    "Zone",
)


def fields() -> dict[str, list[FieldDescriptor]]:
    """Return the fields of all of these by the library's name for them."""
    found: dict[str, list[FieldDescriptor]] = {}
    left = [getattr(library, kind).pb().DESCRIPTOR for kind in KINDS]
    seen: set[str] = set()
    while left:
        message: Descriptor = left.pop()
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        for field in message.fields:
            found.setdefault(field.name, []).append(field)
            if field.message_type is not None:
                left.append(field.message_type)
    return found


def kind_of(field: FieldDescriptor) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return MAP
    if field.is_repeated:
        return LIST
    if field.message_type is not None:
        return PART
    return {
        FieldDescriptor.TYPE_STRING: TEXT,
        FieldDescriptor.TYPE_INT32: NUMBER,
        FieldDescriptor.TYPE_UINT32: NUMBER,
        FieldDescriptor.TYPE_INT64: LONG,
        FieldDescriptor.TYPE_DOUBLE: REAL,
        FieldDescriptor.TYPE_BOOL: TRUTH,
    }.get(field.type, str(field.type))


@pytest.fixture(scope="module")
def known() -> dict[str, list[FieldDescriptor]]:
    return fields()


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_the_librarys_and_of_its_kind(known: dict[str, list[FieldDescriptor]], name: str) -> None:
    theirs = known[name]
    assert json_name(name) in {field.json_name for field in theirs}
    assert FIELDS[name] in {kind_of(field) for field in theirs}


def all_wanted(lab: Lab) -> list[Wanted]:
    gcp = Gcp(project="khw-unit", endpoint=lab.endpoint, credentials="anonymous", private_nodes=True)
    provider = lab.provider(gcp=gcp)
    provider.ensure_compute()
    cluster = provider.discover()
    rows = [*gcp_compute.wanted(provider.spec, provider.api, KEY), *gcp_balancer.wanted(provider.api, cluster)]
    return [*rows, *gcp_routes.wanted(provider.api, cluster)]


def test_what_is_made_is_as_the_library_writes_it(lab: Lab) -> None:
    rows = all_wanted(lab)
    assert len({row.kind for row in rows}) == 11
    for row in rows:
        whole = row.message.whole()
        assert type(whole).__name__ == row.message.kind
        said = type(whole).to_json(whole, always_print_fields_with_no_presence=False)
        assert {**json.loads(said), **{k: v for k, v in row.message.body.items() if v == []}} == row.message.body


def test_what_is_compared_of_a_resource_is_what_the_library_sees_of_it(lab: Lab) -> None:
    for row in all_wanted(lab):
        assert row.facets(row.message) == row.facets(row.message.whole())


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("priority", 0), ("disk_size_gb", 0), ("disabled", False), ("items", []), ("labels", {})],
)
def test_what_is_not_set_is_empty(field: str, value: Any) -> None:
    seen = getattr(Message({}), field)
    assert seen == value
    assert type(seen) is type(value)
    assert Message({}).metadata.items == []


def test_a_field_that_is_not_in_the_table_is_an_error_and_not_nothing() -> None:
    with pytest.raises(AttributeError, match="fingerprints is no field that khw reads"):
        _ = Message({"fingerprints": "x"}).fingerprints
