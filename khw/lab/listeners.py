"""
Which ports of a lab's external addresses are open outside, and how a client gets to them.

A port is a listener of its own where it can be. Two kinds cannot: wide ranges (thousands of listeners for NodePorts),
and a port that something of the host holds on every address (its sshd on 22). For these the host's nftables lead to
one listener, which still sees the port that the client asked for. The table is the lab's own and goes with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from khw.lab.firewall import OUTSIDE, merged_ports, rules_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.lab.backend import Attachment, NetworkState
    from khw.lab.firewall import Rule

Spans: TypeAlias = tuple[tuple[int, int], ...]

CATCH_PORT = 1  # leads nowhere by itself: no rule opens it
MOST_LISTENERS = 64  # of one range
LISTEN = "0A"
ANY_ADDRESS = {"0" * 8, "0" * 32}


def held_ports(tables: Iterable[Path] = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))) -> frozenset[int]:
    """Return the ports that something listens on at every address of this machine."""
    held = set()
    for table in tables:
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            words = line.split()
            address, _, port = words[1].partition(":")
            if words[3] == LISTEN and address in ANY_ADDRESS:
                held.add(int(port, 16))
    return frozenset(held)


def open_ports(rules: Iterable[Rule]) -> Spans:
    """Return the TCP ports that some rule opens to the outside; HAProxy still decides each connection."""
    spans = [
        port
        for rule in rules
        if rule.allow and any(peer.overlaps(OUTSIDE) for peer in rule.peers)
        for traffic in rule.traffic
        if traffic.protocol in {"tcp", "6", "all"}
        for port in traffic.ports or ("2-65535",)
    ]
    return merged_ports(spans)


def by_listener(spans: Spans, held: frozenset[int]) -> tuple[Spans, Spans]:
    """Return the ports that have listeners of their own, and those that are led to one."""
    led = tuple((low, high) for low, high in spans if high - low >= MOST_LISTENERS or held & {*range(low, high + 1)})
    return tuple(span for span in spans if span not in led), led


def of_machine(state: NetworkState, machine: Attachment) -> Spans:
    """Return what is open at a machine's external address: nothing while it is stopped."""
    if not machine.external_ip or not machine.running:
        return ()
    return open_ports(rules_of(state, machine, "INGRESS"))


def render_host(state: NetworkState, table: str, held: frozenset[int]) -> str:
    """Return the host's nftables for the ports that are led to one listener; loading it replaces what was there."""
    rows = []
    for machine in state.attachments:
        _, led = by_listener(of_machine(state, machine), held)
        if led:
            rows.append(_leads(machine.external_ip or "", led))
    for balancer in state.load_balancers:
        _, led = by_listener(merged_ports(balancer.ports), held)
        if led:
            rows.append(_leads(balancer.address, led))
    lines = [f"add table ip {table}", f"delete table ip {table}"]
    if rows:
        hook = "    type nat hook output priority -100; policy accept;"
        lines += [f"table ip {table} {{", "  chain output {", hook, *rows, "  }", "}"]
    return "\n".join(lines) + "\n"


def _leads(address: str, spans: Spans) -> str:
    ports = ", ".join(text(*span) for span in spans)
    return f"    ip daddr {address} tcp dport {{ {ports} }} dnat to {address}:{CATCH_PORT}"


def text(low: int, high: int) -> str:
    """Return a range of ports as HAProxy and nftables write it."""
    return str(low) if low == high else f"{low}-{high}"


def bind_ports(spans: Spans, held: frozenset[int]) -> tuple[str, ...]:
    """Return what HAProxy is to listen on for these ports."""
    direct, led = by_listener(spans, held)
    return (*(text(*span) for span in direct), *((str(CATCH_PORT),) if led else ()))
