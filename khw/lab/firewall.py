"""Firewall rules of a VPC as nftables rules of its router: stateful, deny ingress and allow egress by default."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses, ip_network
from typing import TYPE_CHECKING

from khw.lab.guest import RESOLVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.lab.backend import Attachment, Firewall, NetworkState, Traffic

ANYWHERE = IPv4Network("0.0.0.0/0")
OUTSIDE = IPv4Network("127.0.0.0/8")  # where external addresses are, and the clients of those
PROBER = "35.191.0.1"  # of Google's range of health checkers: checks need a firewall rule here too
NUMBERS = {"ipip": "4", "esp": "50", "ah": "51"}


def interface(machine: str) -> str:
    """Return the name of a machine's interface on the router, within Linux's 15 characters."""
    return "m-" + hashlib.sha256(machine.encode()).hexdigest()[:12]


def stand_in(internal_ip: str) -> str:
    """
    Return the source of what a machine without an external address sends to external ones: 127.128 to 127.191.

    On Google that is its internal address. Here external addresses are loopback ones, and kubelet's rule against
    foreign localnet traffic lets through only what has loopback addresses on both ends.
    """
    second, third, fourth = internal_ip.split(".")[1:]
    return f"127.{128 + int(second) % 64}.{third}.{fourth}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A firewall rule as it applies to one machine: its tags are resolved to addresses."""

    peers: tuple[IPv4Network, ...]  # sources, or destinations of an egress rule; never empty
    traffic: tuple[Traffic, ...]
    allow: bool


def rules_of(state: NetworkState, machine: Attachment, direction: str) -> tuple[Rule, ...]:
    """Return the rules for a machine in the order that they are tried: by priority, deny before allow."""
    applying = [
        rule
        for rule in state.firewalls
        if rule.network == machine.network
        and rule.direction == direction
        and (not rule.target_tags or set(rule.target_tags) & set(machine.tags))
    ]
    applying.sort(key=lambda rule: (rule.priority, rule.action == "allow", rule.name))
    found = (Rule(_peers(rule, state), rule.traffic, rule.action == "allow") for rule in applying)
    return tuple(rule for rule in found if rule.peers)


def _peers(rule: Firewall, state: NetworkState) -> tuple[IPv4Network, ...]:
    ranges = rule.source_ranges if rule.direction == "INGRESS" else rule.destination_ranges
    tagged = [
        f"{peer.internal_ip}/32"
        for peer in state.attachments
        if peer.network == rule.network and set(peer.tags) & set(rule.source_tags)
    ]
    if not ranges and not rule.source_tags:
        return (ANYWHERE,)
    networks = [ip_network(text) for text in (*ranges, *tagged)]
    return tuple(collapse_addresses(n for n in networks if isinstance(n, IPv4Network)))


def render(state: NetworkState) -> str:
    """Return the whole ruleset; loading it replaces the one before in one step."""
    lines = ["add table inet khw", "delete table inet khw", "table inet khw {"]
    for machine in state.attachments:
        lines += _machine_chains(state, machine)
    known = [interface(machine.machine) for machine in state.attachments]
    lines += [
        "  chain forward {",
        "    type filter hook forward priority filter; policy drop;",
        "    ct state established,related accept",
        *_jump("iifname", "from", "jump", known),
        *_jump("oifname", "to", "goto", known),
        "  }",
        "  chain input {",
        "    type filter hook input priority filter; policy drop;",
        "    ct state established,related accept",
        '    iifname "lo" accept',
        "    meta l4proto icmp accept",
        f"    ip daddr {RESOLVER} meta l4proto {{ tcp, udp }} th dport 53 accept",
        *_jump("iifname", "from", "jump", known),
        *_balancers(state),
        "    reject with icmp type admin-prohibited",
        "  }",
        "  chain output {",
        "    type filter hook output priority filter; policy accept;",
        "    ct state established,related accept",
        f"    ip saddr {PROBER} jump probe",
        "  }",
        "  chain probe {",
        *_jump("oifname", "rules", "goto", known),
        "  }",
        *_translations(state),
        "}",
    ]
    return "\n".join(lines) + "\n"


def translated(state: NetworkState) -> dict[str, str]:
    """Return at which address machines without one of their own are seen outside, by the source of what they send."""
    return {
        source: nat.address
        for nat in state.nats
        for machine in state.attachments
        for source in (machine.internal_ip, stand_in(machine.internal_ip))
        if not machine.external_ip
        and machine.network == nat.network
        and (nat.subnets is None or machine.subnet in nat.subnets)
    }


def _translations(state: NetworkState) -> list[str]:
    """Render Cloud NAT: for what goes to the load balancers, which are here, and for what goes on to a machine."""
    pairs = ", ".join(f"{inside} : {outside}" for inside, outside in sorted(translated(state).items()))
    if not pairs:
        return []
    rule = f"    ip daddr {OUTSIDE} snat ip to ip saddr map {{ {pairs} }}"
    return [
        line
        for hook in ("input", "postrouting")
        for line in (f"  chain nat-{hook} {{", f"    type nat hook {hook} priority 100;", rule, "  }")
    ]


def _jump(key: str, prefix: str, verb: str, interfaces: Iterable[str]) -> list[str]:
    pairs = ", ".join(f'"{name}" : {verb} {prefix}-{name}' for name in interfaces)
    return [f"    {key} vmap {{ {pairs} }}"] if pairs else []


def _balancers(state: NetworkState) -> list[str]:
    addresses = sorted({balancer.address for balancer in state.load_balancers})
    return [f"    ip daddr {{ {', '.join(addresses)} }} accept"] if addresses else []


def _machine_chains(state: NetworkState, machine: Attachment) -> list[str]:
    name = interface(machine.machine)
    own = ", ".join((machine.internal_ip, machine.external_ip or stand_in(machine.internal_ip)))
    neighbours = ", ".join(
        f'"{interface(peer.machine)}"' for peer in state.attachments if peer.network == machine.network
    )
    lost = not machine.external_ip and machine.internal_ip not in translated(state)
    spoofed = [] if machine.can_ip_forward else [f"    ip saddr != {{ {own} }} drop"]
    strange = [] if machine.can_ip_forward else [f"    ip daddr != {{ {own} }} drop"]
    return [
        f"  chain from-{name} {{",
        *([f"    ip daddr {OUTSIDE} drop"] if lost else []),  # it has no way out
        *spoofed,
        *_rules(rules_of(state, machine, "EGRESS"), "ip daddr", allowed="return"),
        "  }",
        f"  chain rules-{name} {{",
        *_rules(rules_of(state, machine, "INGRESS"), "ip saddr", allowed="accept"),
        "    drop",
        "  }",
        f"  chain to-{name} {{",
        f"    iifname != {{ {neighbours} }} drop",
        *strange,
        f"    goto rules-{name}",
        "  }",
    ]


def _rules(rules: Sequence[Rule], key: str, *, allowed: str) -> list[str]:
    lines = []
    for rule in rules:
        peers = "" if ANYWHERE in rule.peers else f"{key} {{ {', '.join(map(str, rule.peers))} }} "
        verdict = allowed if rule.allow else "drop"
        lines += [f"    {peers}{match}{verdict}" for match in map(_match, rule.traffic)]
    return lines


def _match(traffic: Traffic) -> str:
    if traffic.protocol == "all":
        return ""
    protocol = NUMBERS.get(traffic.protocol, traffic.protocol)
    ports = merged_ports(traffic.ports)
    if not ports:
        return f"meta l4proto {protocol} "
    texts = (str(low) if low == high else f"{low}-{high}" for low, high in ports)
    return f"{protocol} dport {{ {', '.join(texts)} }} "


def merged_ports(ports: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Return port ranges in order, those that touch or overlap as one (nftables refuses overlaps)."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(port_range(port) for port in ports):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def port_range(port: str) -> tuple[int, int]:
    """Return the first and last port of "22" or "30000-32767"."""
    low, _, high = port.partition("-")
    return int(low), int(high or low)
