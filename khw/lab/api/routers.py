"""Cloud Routers, for their Cloud NAT: how machines without an external address get out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from khw.lab.api.kind import Kind
from khw.lab.api.links import last
from khw.lab.api.problems import ApiError, invalid, required

if TYPE_CHECKING:
    from khw.lab.api.project import Project
    from khw.lab.state import Entry

    Json = dict[str, Any]

_RANGES = {"ALL_SUBNETWORKS_ALL_IP_RANGES", "ALL_SUBNETWORKS_ALL_PRIMARY_IP_RANGES", "LIST_OF_SUBNETWORKS"}
_ONLY_NAT = "The lab's routers have NAT only: no '{}'."


def _fill(project: Project, entry: Entry) -> None:
    body = entry.body
    if not body.get("network"):
        raise required("resource.network")
    for field in ("bgp", "bgpPeers", "interfaces"):
        if body.get(field):
            raise ApiError(400, "invalid", _ONLY_NAT.format(field))
    body.setdefault("encryptedInterconnectRouter", False)
    nats = body.get("nats", [])
    names = [row.get("name") for row in nats]
    if len(set(names)) != len(names):
        raise invalid("resource.nats", names, "A NAT's name is unique in its router.")
    for index, row in enumerate(nats):
        _fill_nat(project, entry, row, f"resource.nats[{index}]")


def _fill_nat(project: Project, entry: Entry, row: Json, where: str) -> None:
    for field in ("name", "sourceSubnetworkIpRangesToNat"):
        if not row.get(field):
            raise required(f"{where}.{field}")
    if row["sourceSubnetworkIpRangesToNat"] not in _RANGES:
        raise invalid(f"{where}.sourceSubnetworkIpRangesToNat", row["sourceSubnetworkIpRangesToNat"], "Unknown value.")
    if (row["sourceSubnetworkIpRangesToNat"] == "LIST_OF_SUBNETWORKS") != bool(row.get("subnetworks")):
        raise invalid(f"{where}.subnetworks", row.get("subnetworks", []), "They are given with LIST_OF_SUBNETWORKS.")
    if row.get("natIpAllocateOption") != "MANUAL_ONLY" or len(row.get("natIps", ())) != 1:
        raise ApiError(400, "invalid", "The lab's NAT is MANUAL_ONLY, with one reserved address in natIps.")
    address = project.at(row["natIps"][0])
    if address.collection != "addresses" or address.body["addressType"] != "EXTERNAL":
        raise invalid(f"{where}.natIps[0]", row["natIps"][0], "It is not a reserved external address.")
    others = [user for user in project.users_of_address(address.body["address"]) if user.key != entry.key]
    if others:
        raise invalid(f"{where}.natIps[0]", row["natIps"][0], "The address is in use.")
    for other in project.of("routers"):
        if other.key != entry.key and other.body.get("nats") and other.body["network"] == entry.body["network"]:
            raise invalid(where, row["name"], f"The network has a NAT in router '{last(other.key)}'.")
    row.setdefault("type", "PUBLIC")
    row.setdefault("endpointTypes", ["ENDPOINT_TYPE_VM"])
    row.setdefault("autoNetworkTier", "PREMIUM")
    row.setdefault("enableEndpointIndependentMapping", False)
    row.setdefault("enableDynamicPortAllocation", False)


ROUTERS = Kind(
    collection="routers",
    path="routers",
    resource="router",
    level="region",
    fill=_fill,
    links=("network", "nats[].natIps[]", "nats[].subnetworks[].name"),
    networked=True,
    patched=True,
    aggregated=True,
)
