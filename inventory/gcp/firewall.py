"""The network's firewall rules (chapters 3, 8 and 13) as they are, in words: for pictures and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.inventory.gcp.kinds import FIREWALL
from khw.inventory.gcp.operations import last
from khw.inventory.provider import FirewallRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.cluster.spec import Spec
    from khw.inventory.gcp.clients import Api, Message


def rules(api: Api, spec: Spec) -> list[FirewallRule]:
    """Return the network's rules in the order in which they count: the lowest number first."""
    found = [_rule(row) for row in api.list(FIREWALL) if last(row.network) == spec.network.name]
    return sorted(found, key=lambda rule: (rule.leaving, rule.priority, rule.name))


def _rule(row: Message) -> FirewallRule:
    leaving = row.direction == "EGRESS"
    others = row.destination_ranges if leaving else (*row.source_ranges, *row.source_tags)
    action = "off" if row.disabled else "deny" if row.denied else "allow"
    return FirewallRule(
        name=str(row.name),
        action=action,
        what=_protocols(row.denied or row.allowed),
        others=", ".join(map(str, others)),
        machines=", ".join(map(str, row.target_tags)),
        priority=int(row.priority),
        leaving=leaving,
    )


def _protocols(rows: Iterable[Message]) -> str:
    """Return 'tcp 22, 6443; icmp'."""
    ports: dict[str, list[str]] = {}
    for row in rows:
        ports.setdefault(str(row.I_p_protocol), []).extend(map(str, row.ports))
    return "; ".join(f"{name} {', '.join(mine)}".rstrip() for name, mine in ports.items())
