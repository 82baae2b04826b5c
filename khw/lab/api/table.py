"""Every collection whose members users insert and delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.lab.api.balancing import BACKEND_SERVICES, FORWARDING_RULES, HEALTH_CHECKS
from khw.lab.api.disks import DISKS
from khw.lab.api.groups import INSTANCE_GROUPS
from khw.lab.api.instances import INSTANCES
from khw.lab.api.routers import ROUTERS
from khw.lab.api.vpc import ADDRESSES, FIREWALLS, NETWORKS, ROUTES, SUBNETWORKS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from khw.lab.api.kind import Kind

KINDS: Mapping[str, Kind] = {
    kind.collection: kind
    for kind in (
        NETWORKS,
        SUBNETWORKS,
        FIREWALLS,
        ROUTES,
        ADDRESSES,
        ROUTERS,
        INSTANCES,
        DISKS,
        INSTANCE_GROUPS,
        HEALTH_CHECKS,
        BACKEND_SERVICES,
        FORWARDING_RULES,
    )
}
