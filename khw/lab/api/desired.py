"""What the backend is asked for, out of what users inserted: the network as a whole, and each machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from khw.lab.api.links import last
from khw.lab.backend import (
    Attachment,
    Firewall,
    HealthCheck,
    LoadBalancer,
    MachineSpec,
    Nat,
    Network,
    NetworkState,
    Route,
    Subnet,
    Traffic,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.lab.api.project import Project
    from khw.lab.state import Entry

    Json = dict[str, Any]

_WANTED_UP = {"PROVISIONING", "STAGING", "RUNNING"}


def network_state(project: Project) -> NetworkState:
    """Return the network that the state describes, without what is being deleted."""
    return NetworkState(
        networks=tuple(Network(name=e.name, mtu=int(e.body.get("mtu", 1460))) for e in _staying(project, "networks")),
        subnets=tuple(
            Subnet(name=e.name, network=last(e.body["network"]), cidr=e.body["ipCidrRange"])
            for e in _staying(project, "subnetworks")
        ),
        firewalls=tuple(_firewall(e) for e in _staying(project, "firewalls") if not e.body.get("disabled", False)),
        routes=tuple(_routes(project)),
        attachments=tuple(_attachment(e) for e in project.of("instances")),
        addresses=tuple(sorted(project.external_addresses())),
        load_balancers=tuple(_balancers(project)),
        nats=tuple(_nats(project)),
    )


def _staying(project: Project, collection: str) -> Iterator[Entry]:
    return (entry for entry in project.of(collection) if not entry.deleting)


def _firewall(entry: Entry) -> Firewall:
    body = entry.body
    action: Literal["allow", "deny"] = "allow" if body.get("allowed") else "deny"
    return Firewall(
        name=entry.name,
        network=last(body["network"]),
        direction=body["direction"],
        priority=int(body["priority"]),
        action=action,
        traffic=tuple(
            Traffic(protocol=str(row["IPProtocol"]).lower(), ports=tuple(row.get("ports", ())))
            for row in body.get("allowed") or body.get("denied") or ()
        ),
        source_ranges=tuple(body.get("sourceRanges", ())),
        source_tags=tuple(body.get("sourceTags", ())),
        destination_ranges=tuple(body.get("destinationRanges", ())),
        target_tags=tuple(body.get("targetTags", ())),
    )


def _routes(project: Project) -> Iterator[Route]:
    for entry in _staying(project, "routes"):
        hop = entry.body.get("nextHopIp") or _hop_of_instance(project, entry.body.get("nextHopInstance"))
        if hop:
            yield Route(
                name=entry.name,
                network=last(entry.body["network"]),
                dest_range=entry.body["destRange"],
                next_hop_ip=hop,
                priority=int(entry.body["priority"]),
                tags=tuple(entry.body.get("tags", ())),
            )


def _hop_of_instance(project: Project, url: str | None) -> str:
    """Return the address of the instance that a route goes to; nothing once that is gone."""
    instance = next((e for e in project.of("instances") if e.body["selfLink"] == url), None)
    return str(instance.body["networkInterfaces"][0]["networkIP"]) if instance else ""


def _nats(project: Project) -> Iterator[Nat]:
    for entry in _staying(project, "routers"):
        for row in entry.body.get("nats", ()):
            some = row["sourceSubnetworkIpRangesToNat"] == "LIST_OF_SUBNETWORKS"
            yield Nat(
                network=last(entry.body["network"]),
                address=project.at(row["natIps"][0]).body["address"],
                subnets=tuple(last(subnet["name"]) for subnet in row["subnetworks"]) if some else None,
            )


def _attachment(entry: Entry) -> Attachment:
    interface = entry.body["networkInterfaces"][0]
    return Attachment(
        machine=entry.name,
        network=last(interface["network"]),
        subnet=last(interface["subnetwork"]),
        internal_ip=interface["networkIP"],
        external_ip=_external(interface),
        tags=tuple(entry.body["tags"].get("items", ())),
        can_ip_forward=bool(entry.body.get("canIpForward", False)),
        running=entry.body["status"] in _WANTED_UP,
    )


def _external(interface: Json) -> str | None:
    configs = interface.get("accessConfigs") or [{}]
    address: str | None = configs[0].get("natIP")
    return address


def machine_spec(project: Project, entry: Entry) -> MachineSpec:
    """Return what the backend has to know of an instance."""
    interface = entry.body["networkInterfaces"][0]
    return MachineSpec(
        project=project.name,
        zone=last(entry.body["zone"]),
        name=entry.name,
        image=entry.hidden["image"],
        machine_type=last(entry.body["machineType"]),
        network=last(interface["network"]),
        subnet=last(interface["subnetwork"]),
        internal_ip=interface["networkIP"],
        external_ip=_external(interface),
        can_ip_forward=bool(entry.body.get("canIpForward", False)),
        tags=tuple(entry.body["tags"].get("items", ())),
        metadata=metadata_of(entry),
    )


def metadata_of(entry: Entry) -> dict[str, str]:
    """Return an instance's metadata as a mapping."""
    return {item["key"]: item.get("value", "") for item in entry.body["metadata"].get("items", ())}


def _balancers(project: Project) -> Iterator[LoadBalancer]:
    for rule in _staying(project, "forwardingRules"):
        service = project.at(rule.body["backendService"])
        yield LoadBalancer(
            name=rule.name,
            backend_service=service.name,
            address=rule.body["IPAddress"],
            ports=_rule_ports(rule.body),
            machines=tuple(sorted({last(url) for url in service_members(project, service)})),
            health_check=_health_check(project, service),
        )


def _rule_ports(body: Json) -> tuple[str, ...]:
    if body.get("allPorts"):
        return ("1-65535",)
    if body.get("ports"):
        return tuple(str(port) for port in body["ports"])
    first, _, final = str(body["portRange"]).partition("-")
    return (first,) if final in {"", first} else (f"{first}-{final}",)


def service_members(project: Project, service: Entry) -> Iterator[str]:
    """Return the links of the instances behind a backend service."""
    for backend in service.body.get("backends", ()):
        yield from project.at(backend["group"]).hidden["members"]


def _health_check(project: Project, service: Entry) -> HealthCheck | None:
    for url in service.body.get("healthChecks", ()):
        body = project.at(url).body
        kind = body["type"]
        how = body[f"{kind.lower()}HealthCheck"]
        return HealthCheck(
            kind=cast("Literal['TCP', 'HTTP', 'HTTPS']", kind),
            port=int(how["port"]),
            path=how.get("requestPath", "/"),
            host=how.get("host", ""),
            interval=int(body["checkIntervalSec"]),
            timeout=int(body["timeoutSec"]),
            healthy_threshold=int(body["healthyThreshold"]),
            unhealthy_threshold=int(body["unhealthyThreshold"]),
        )
    return None
