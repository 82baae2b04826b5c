"""The load balancer's parts (chapter 8): health checks, backend services and forwarding rules, all regional."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from khw.lab.api.kind import Kind
from khw.lab.api.links import last
from khw.lab.api.problems import invalid, required

if TYPE_CHECKING:
    from khw.lab.api.project import Project
    from khw.lab.state import Entry

    Json = dict[str, Any]

_CHECK_PORTS = {"TCP": 80, "HTTP": 80, "HTTPS": 443}


# Health checks


def _fill_check(_project: Project, entry: Entry) -> None:
    body = entry.body
    kind = body.get("type")
    if kind not in _CHECK_PORTS:
        raise invalid("resource.type", kind, f"Must be one of {', '.join(_CHECK_PORTS)} here.")
    body.setdefault("checkIntervalSec", 5)
    body.setdefault("timeoutSec", 5)
    body.setdefault("healthyThreshold", 2)
    body.setdefault("unhealthyThreshold", 2)
    if int(body["timeoutSec"]) > int(body["checkIntervalSec"]):
        why = "Must not be longer than checkIntervalSec."
        raise invalid("resource.timeoutSec", body["timeoutSec"], why)
    for other in _CHECK_PORTS:
        if other != kind and f"{other.lower()}HealthCheck" in body:
            raise invalid("resource.type", kind, f"It has a {other.lower()}HealthCheck.")
    how = body.setdefault(f"{kind.lower()}HealthCheck", {})
    if how.get("portName") or how.get("portSpecification", "USE_FIXED_PORT") != "USE_FIXED_PORT":
        raise invalid("resource.portSpecification", how, "Only a fixed port is supported here.")
    how.setdefault("port", _CHECK_PORTS[kind])
    how.setdefault("proxyHeader", "NONE")
    if kind != "TCP":
        how.setdefault("requestPath", "/")


HEALTH_CHECKS = Kind(
    collection="regionHealthChecks",
    path="healthChecks",
    resource="healthCheck",
    level="region",
    fill=_fill_check,
    networked=True,
)


# Backend services


def _fill_service(project: Project, entry: Entry) -> None:
    body = entry.body
    scheme = body.setdefault("loadBalancingScheme", "EXTERNAL")
    protocol = body.setdefault("protocol", "TCP")
    if scheme != "EXTERNAL" or protocol != "TCP":
        why = "Only external passthrough load balancers for TCP are supported here."
        raise invalid("resource.loadBalancingScheme", f"{scheme} {protocol}", why)
    if len(body.get("healthChecks", ())) != 1:
        raise invalid("resource.healthChecks", body.get("healthChecks"), "Exactly one is needed.")
    if project.at(body["healthChecks"][0]).scope != entry.scope:
        raise invalid("resource.healthChecks[0]", body["healthChecks"][0], "It is of another region.")
    for backend in body.get("backends", ()):
        backend.setdefault("balancingMode", "CONNECTION")
    body.setdefault("sessionAffinity", "NONE")
    body.setdefault("timeoutSec", 30)
    body.setdefault("port", 80)
    body.setdefault("portName", "http")
    body.setdefault("connectionDraining", {"drainingTimeoutSec": 0})
    body["fingerprint"] = project.fingerprint(body)


def _view_service(project: Project, _entry: Entry, body: Json) -> None:
    rules = [e.body["selfLink"] for e in project.of("forwardingRules") if e.body["backendService"] == body["selfLink"]]
    if rules:
        body["usedBy"] = [{"reference": url} for url in rules]


def _health(project: Project, entry: Entry, body: Json) -> Json:
    if not body.get("group"):
        raise required("group")
    group = project.referenced(body["group"], "group")
    groups = [backend["group"] for backend in entry.body.get("backends", ())]
    if group.body["selfLink"] not in groups:
        raise invalid("group", body["group"], f"It is not a backend of '{entry.name}'.")
    answer: Json = {"kind": "compute#backendServiceGroupHealth"}
    statuses = _statuses(project, entry, group)
    if statuses:
        answer["healthStatus"] = statuses
    return answer


def _statuses(project: Project, service: Entry, group: Entry) -> list[Json]:
    """Return a row for each forwarding rule and machine; without a forwarding rule nothing is checked."""
    rules = [e for e in project.of("forwardingRules") if e.body["backendService"] == service.body["selfLink"]]
    seen = project.backend.backend_health(service.name) if rules else {}
    rows = []
    for rule in rules:
        for url in group.hidden["members"]:
            instance = project.at(url).body
            rows.append(
                {
                    "instance": url,
                    "ipAddress": instance["networkInterfaces"][0]["networkIP"],
                    "port": int(service.body["port"]),
                    "healthState": str(seen.get(last(url), "UNHEALTHY")),
                    "forwardingRule": rule.body["selfLink"],
                    "forwardingRuleIp": rule.body["IPAddress"],
                }
            )
    return rows


BACKEND_SERVICES = Kind(
    collection="regionBackendServices",
    path="backendServices",
    resource="backendService",
    level="region",
    fill=_fill_service,
    links=("healthChecks[]", "backends[].group"),
    networked=True,
    view=_view_service,
    replaced=True,
    reads={"getHealth": ("POST", _health)},
)


# Forwarding rules


def _fill_rule(project: Project, entry: Entry) -> None:
    body = entry.body
    if not body.get("backendService"):
        raise required("resource.backendService")
    if project.at(body["backendService"]).scope != entry.scope:
        raise invalid("resource.backendService", body["backendService"], "It is of another region.")
    if body.setdefault("loadBalancingScheme", "EXTERNAL") != "EXTERNAL":
        raise invalid("resource.loadBalancingScheme", body["loadBalancingScheme"], "Must be EXTERNAL here.")
    if body.setdefault("IPProtocol", "TCP") != "TCP":
        raise invalid("resource.IPProtocol", body["IPProtocol"], "Must be TCP here.")
    _fill_ports(body)
    body.setdefault("networkTier", "PREMIUM")
    body["IPAddress"] = _rule_address(project, entry)
    _check_clash(project, entry)
    body["fingerprint"] = project.fingerprint(body)


def _fill_ports(body: Json) -> None:
    given = [field for field in ("portRange", "ports", "allPorts") if body.get(field)]
    if len(given) != 1:
        raise invalid("resource.portRange", given, "Give one of portRange, ports and allPorts.")
    if given == ["portRange"]:
        first, _, final = str(body["portRange"]).partition("-")
        body["portRange"] = f"{first}-{final or first}"
    if given == ["ports"] and not 1 <= len(body["ports"]) <= 5:
        raise invalid("resource.ports", body["ports"], "Up to five ports.")


def _rule_address(project: Project, entry: Entry) -> str:
    """Return the rule's address: a reserved one by its address or link, or one that is free now."""
    wanted = str(entry.body.pop("IPAddress", "") or "")
    field = "resource.IPAddress"
    if not wanted:
        return project.free_external_address()
    if "/" in wanted:
        reserved = project.referenced(wanted, field)
    else:
        found = project.external_addresses().get(wanted)
        if found is None or found.collection != "addresses":
            raise invalid(field, wanted, "The specified IP address was not found in the region.")
        reserved = found
    if reserved.collection != "addresses" or reserved.scope != entry.scope:
        raise invalid(field, wanted, "It is not an address of the region.")
    return str(reserved.body["address"])


def _check_clash(project: Project, entry: Entry) -> None:
    for user in project.users_of_address(entry.body["IPAddress"]):
        same = user.body.get("portRange") == entry.body.get("portRange")
        if user.collection == "instances" or same:
            why = f"It is in use by '{project.path(user.key)}'."
            raise invalid("resource.IPAddress", entry.body["IPAddress"], why)


FORWARDING_RULES = Kind(
    collection="forwardingRules",
    path="forwardingRules",
    resource="forwardingRule",
    level="region",
    fill=_fill_rule,
    links=("backendService",),
    networked=True,
    labels=True,
    aggregated=True,
)
