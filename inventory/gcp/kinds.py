"""The kinds of Compute Engine resources that khw makes, as one table: where each lives and how its client is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Kind:
    """
    A kind of resource.

    `name` is what khw calls it, `client` the class in google-cloud-compute, `field` the request field that names
    one (the field that carries a new one is the same with '_resource'), `command` gcloud's words for it.
    """

    name: str
    client: str
    field: str
    scope: Literal["global", "region", "zone"]
    command: str

    @property
    def collection(self) -> str:
        """What the API's paths call it."""
        plural = self.client.removeprefix("Region").removesuffix("Client")
        return plural[0].lower() + plural[1:]

    @property
    def path(self) -> str:
        """Where they are below the API's version; project, region and zone are to be filled in."""
        scope = {"global": "global", "region": "regions/{region}", "zone": "zones/{zone}"}[self.scope]
        return f"projects/{{project}}/{scope}/{self.collection}"


NETWORK = Kind("network", "NetworksClient", "network", "global", "networks")
SUBNET = Kind("subnet", "SubnetworksClient", "subnetwork", "region", "networks subnets")
FIREWALL = Kind("firewall", "FirewallsClient", "firewall", "global", "firewall-rules")
ADDRESS = Kind("address", "AddressesClient", "address", "region", "addresses")
INSTANCE = Kind("instance", "InstancesClient", "instance", "zone", "instances")
DISK = Kind("disk", "DisksClient", "disk", "zone", "disks")
GROUP = Kind("instance-group", "InstanceGroupsClient", "instance_group", "zone", "instance-groups unmanaged")
HEALTH_CHECK = Kind("health-check", "RegionHealthChecksClient", "health_check", "region", "health-checks")
BACKEND = Kind("backend-service", "RegionBackendServicesClient", "backend_service", "region", "backend-services")
FORWARDING_RULE = Kind("forwarding-rule", "ForwardingRulesClient", "forwarding_rule", "region", "forwarding-rules")
ROUTER = Kind("router", "RoutersClient", "router", "region", "routers")
ROUTE = Kind("route", "RoutesClient", "route", "global", "routes")

KINDS = (
    NETWORK,
    SUBNET,
    FIREWALL,
    ADDRESS,
    ROUTER,
    INSTANCE,
    DISK,
    GROUP,
    HEALTH_CHECK,
    BACKEND,
    FORWARDING_RULE,
    ROUTE,
)
