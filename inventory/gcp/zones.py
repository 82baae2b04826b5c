"""Which zone a machine belongs in: the zones of the cluster file in turn, for each role from the first one on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from khw.cluster.spec import Gcp, Spec


def zones_of(spec: Spec, gcp: Gcp) -> dict[str, str]:
    """Return the zone of each machine that the cluster file asks for, by its name; a bastion is in the first."""
    found: dict[str, str] = {spec.bastion_name: gcp.places[0]} if gcp.private_nodes else {}
    seen: dict[str, int] = {}
    for machine in spec.planned:
        turn = seen.get(machine.role, 0)
        found[machine.name] = gcp.places[turn % len(gcp.places)]
        seen[machine.role] = turn + 1
    return found
