"""Networks, subnetworks, firewalls, routes and addresses (chapters 3 and 11)."""

from __future__ import annotations

import hashlib
import re
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from khw.lab.api.kind import Kind
from khw.lab.api.links import BASE, last
from khw.lab.api.problems import ApiError, invalid, required
from khw.lab.api.project import usable
from khw.lab.state import Entry

if TYPE_CHECKING:
    from khw.lab.api.project import Project

    Json = dict[str, Any]

DEFAULT_PRIORITY = 1000
_EVERYWHERE = "0.0.0.0/0"
_PROTOCOLS = {"tcp", "udp", "icmp", "esp", "ah", "sctp", "ipip", "all"}
_PORTS = re.compile(r"\d{1,5}(-\d{1,5})?")


def cidr(text: object, field: str) -> IPv4Network:
    """Read a range; Google refuses one whose host bits are set."""
    try:
        return IPv4Network(str(text))
    except ValueError as error:
        raise invalid(field, text, "Must be a CIDR address range that is a network address.") from error


# Networks


def _fill_network(project: Project, entry: Entry) -> None:
    body = entry.body
    if body.get("autoCreateSubnetworks", True) or "IPv4Range" in body:
        message = "This project makes custom mode networks only: set autoCreateSubnetworks to false."
        raise ApiError(400, "invalid", message)
    body.setdefault("mtu", 1460)
    routing = body.setdefault("routingConfig", {})
    routing.setdefault("routingMode", "REGIONAL")
    routing.setdefault("bgpBestPathSelectionMode", "LEGACY")
    body.setdefault("networkFirewallPolicyEnforcementOrder", "AFTER_CLASSIC_FIREWALL")
    body["selfLinkWithId"] = f"{BASE}projects/{project.name}/global/networks/{body['id']}"
    fields = {
        "description": "Default route to the Internet.",
        "destRange": _EVERYWHERE,
        "nextHopGateway": project.link("global/gateways/default-internet-gateway"),
        "priority": DEFAULT_PRIORITY,
        "routeType": "STATIC",
    }
    _add_route(project, entry, entry.body["selfLink"], fields)


def _add_route(project: Project, owner: Entry, network: str, fields: Json) -> None:
    """Add the route that comes with a network or a subnet, and goes with it."""
    name = f"default-route-{hashlib.sha256(owner.body['id'].encode()).hexdigest()[:16]}"
    key = f"global/routes/{name}"
    body = {
        "kind": "compute#route",
        "id": str(int(owner.body["id"]) + 1),
        "name": name,
        "creationTimestamp": owner.body["creationTimestamp"],
        "selfLink": project.link(key),
        "network": network,
        **fields,
    }
    hidden = {"owner": owner.key}
    project.state.entries[key] = Entry("routes", "global", name, key, body, hidden, ready=True)


def _view_network(project: Project, entry: Entry, body: Json) -> None:
    mine = [e.body["selfLink"] for e in project.of("subnetworks") if e.body["network"] == body["selfLink"]]
    if mine:
        body["subnetworks"] = mine


NETWORKS = Kind(
    collection="networks",
    path="networks",
    resource="network",
    level="global",
    fill=_fill_network,
    networked=True,
    view=_view_network,
)


# Subnetworks


def _fill_subnetwork(project: Project, entry: Entry) -> None:
    body = entry.body
    if not body.get("network"):
        raise required("resource.network")
    wanted = cidr(body.get("ipCidrRange"), "resource.ipCidrRange")
    if wanted.prefixlen > 29:
        raise invalid("resource.ipCidrRange", wanted, "The smallest range is a /29.")
    for other in project.of("subnetworks"):
        theirs = IPv4Network(other.body["ipCidrRange"])
        if other.body["network"] == body["network"] and wanted.overlaps(theirs):
            why = f"IP range overlaps with subnetwork '{project.path(other.key)}' ({theirs})."
            raise invalid("resource.ipCidrRange", wanted, why)
    body["gatewayAddress"] = str(wanted[1])
    body["fingerprint"] = project.fingerprint(body)
    body.setdefault("privateIpGoogleAccess", False)
    body.setdefault("privateIpv6GoogleAccess", "DISABLE_GOOGLE_ACCESS")
    body.setdefault("purpose", "PRIVATE")
    body.setdefault("stackType", "IPV4_ONLY")
    body.setdefault("allowSubnetCidrRoutesOverlap", False)
    body.setdefault("logConfig", {"enable": body.get("enableFlowLogs", False)})  # the old field shows only if it is set
    fields = {
        "description": f"Default local route to the subnetwork {wanted}.",
        "destRange": str(wanted),
        "nextHopNetwork": body["network"],
        "priority": 0,
        "routeType": "SUBNET",
    }
    _add_route(project, entry, body["network"], fields)


SUBNETWORKS = Kind(
    collection="subnetworks",
    path="subnetworks",
    resource="subnetwork",
    level="region",
    fill=_fill_subnetwork,
    links=("network",),
    networked=True,
    aggregated=True,
)


# Firewalls


def _fill_firewall(_project: Project, entry: Entry) -> None:
    body = entry.body
    if bool(body.get("allowed")) == bool(body.get("denied")):
        raise invalid("resource", entry.name, "Firewall must have exactly one of 'allowed' or 'denied'.")
    for side in ("allowed", "denied"):
        for index, row in enumerate(body.get(side, ())):
            _check_traffic(row, f"resource.{side}[{index}]")
    body.setdefault("direction", "INGRESS")
    if body["direction"] == "INGRESS":
        if not any(body.get(field) for field in ("sourceRanges", "sourceTags", "sourceServiceAccounts")):
            body["sourceRanges"] = [_EVERYWHERE]
        if body.get("destinationRanges"):
            raise invalid("resource.destinationRanges", "", "An ingress rule has source ranges.")
    else:
        body.setdefault("destinationRanges", [_EVERYWHERE])
    for field in ("sourceRanges", "destinationRanges"):
        for index, text in enumerate(body.get(field, ())):
            cidr(text, f"resource.{field}[{index}]")
    body.setdefault("priority", DEFAULT_PRIORITY)
    if not 0 <= int(body["priority"]) <= 65535:
        raise invalid("resource.priority", body["priority"], "Must be between 0 and 65535, inclusive.")
    body.setdefault("disabled", False)
    body.setdefault("logConfig", {"enable": False})


def _check_traffic(row: Json, field: str) -> None:
    protocol = str(row.get("IPProtocol", "")).lower()
    if protocol not in _PROTOCOLS and not protocol.isdigit():
        raise invalid(f"{field}.IPProtocol", protocol, "Must be a protocol's name or number.")
    if row.get("ports") and protocol not in {"tcp", "udp", "sctp", "6", "17", "132"}:
        raise invalid(f"{field}.ports", row["ports"], f"The protocol '{protocol}' has no ports.")
    for index, port in enumerate(row.get("ports", ())):
        ends = [int(end) for end in port.split("-")] if _PORTS.fullmatch(port) else [1, 0]
        if ends != sorted(ends) or ends[-1] > 65535:
            raise invalid(f"{field}.ports[{index}]", port, "Ports are a number or a range, up to 65535.")


FIREWALLS = Kind(
    collection="firewalls",
    path="firewalls",
    resource="firewall",
    level="global",
    fill=_fill_firewall,
    links=("network",),
    networked=True,
    patched=True,
)


# Routes


def _fill_route(project: Project, entry: Entry) -> None:
    body = entry.body
    for field in ("network", "destRange"):
        if not body.get(field):
            raise required(f"resource.{field}")
    wanted = cidr(body["destRange"], "resource.destRange")
    hops = [f for f in ("nextHopIp", "nextHopInstance", "nextHopGateway") if body.get(f)]
    if len(hops) != 1:
        message = "Exactly one of nextHopIp, nextHopInstance and nextHopGateway has to be given."
        raise invalid("resource", entry.name, message)
    subnets = [e for e in project.of("subnetworks") if e.body["network"] == body["network"]]
    for subnet in subnets:
        if wanted.subnet_of(IPv4Network(subnet.body["ipCidrRange"])):
            why = f"It is within the range of the subnetwork '{project.path(subnet.key)}'."
            raise invalid("resource.destRange", wanted, why)
    if hops == ["nextHopIp"]:
        _check_hop(body["nextHopIp"], subnets)
    if hops == ["nextHopInstance"]:
        instance = project.referenced(body["nextHopInstance"], "resource.nextHopInstance")
        body["nextHopInstance"] = instance.body["selfLink"]
    if hops == ["nextHopGateway"] and last(body["nextHopGateway"]) != "default-internet-gateway":
        raise invalid("resource.nextHopGateway", body["nextHopGateway"], "There is no such gateway.")
    body.setdefault("priority", DEFAULT_PRIORITY)
    body["routeType"] = "STATIC"


def _check_hop(text: str, subnets: list[Entry]) -> None:
    try:
        hop = IPv4Address(text)
    except ValueError as error:
        raise invalid("resource.nextHopIp", text, "Must be a valid IPv4 address.") from error
    if not any(hop in IPv4Network(subnet.body["ipCidrRange"]) for subnet in subnets):
        raise invalid("resource.nextHopIp", text, "It is not in a subnetwork of the route's network.")


def _locked_route(entry: Entry) -> str:
    return "The local route cannot be deleted." if entry.body.get("nextHopNetwork") else ""


ROUTES = Kind(
    collection="routes",
    path="routes",
    resource="route",
    level="global",
    fill=_fill_route,
    links=("network",),
    networked=True,
    locked=_locked_route,
)


# Addresses


def _fill_address(project: Project, entry: Entry) -> None:
    body = entry.body
    body.setdefault("addressType", "EXTERNAL")
    if body["addressType"] == "INTERNAL":
        _fill_internal(project, entry)
        return
    wanted = body.get("address")
    if wanted:
        taken = project.external_addresses().get(wanted)
        if IPv4Address(wanted) not in project.pool:
            raise invalid("resource.address", wanted, "It is not an address of this project.")
        if taken and taken.collection == "addresses":
            raise invalid("resource.address", wanted, "It is reserved already.")
    else:
        body["address"] = project.free_external_address()
    body.setdefault("networkTier", "PREMIUM")


def _fill_internal(project: Project, entry: Entry) -> None:
    body = entry.body
    if not body.get("subnetwork"):
        raise required("resource.subnetwork")
    subnet = project.at(body["subnetwork"])
    wanted = body.get("address")
    if wanted and (not usable(wanted, subnet) or wanted in project.internal_addresses(body["subnetwork"])):
        raise invalid("resource.address", wanted, "It is not a free address of the subnetwork.")
    if not wanted:
        body["address"] = project.free_internal_address(subnet)
    body.setdefault("purpose", "GCE_ENDPOINT")


def _view_address(project: Project, _entry: Entry, body: Json) -> None:
    users = [user.body["selfLink"] for user in project.users_of_address(body["address"])]
    body["status"] = "IN_USE" if users else "RESERVED"
    if users:
        body["users"] = users


ADDRESSES = Kind(
    collection="addresses",
    path="addresses",
    resource="address",
    level="region",
    fill=_fill_address,
    links=("subnetwork",),
    networked=True,
    labels=True,
    aggregated=True,
    view=_view_address,
)
