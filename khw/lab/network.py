"""
The VPC of a lab: one network namespace is its router.

Each machine hangs on a link of its own and has a /32 address, as on Compute Engine: all that it sends goes through
the router, where firewall rules and routes are. The namespace has no way out: what has no route is unreachable.

External addresses are loopback addresses of the lab's block. Inside, the upper half of 127.0.0.0/8 is not local but
routed, so that a machine reaches an external address (the load balancer's, another machine's) as on Google.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from khw.lab import firewall
from khw.lab.backend import NetworkState
from khw.lab.command import run
from khw.lab.guest import RESOLVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.lab.layout import Layout

PROTOCOL = "200"  # marks the routes that are ours
SETTINGS = (
    "net.ipv4.ip_forward=1",
    "net.ipv4.icmp_ratelimit=0",  # every packet without a route is told so, at once
    "net.ipv4.conf.all.route_localnet=1",
    "net.ipv4.conf.all.send_redirects=0",
    "net.ipv4.conf.default.send_redirects=0",
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
    "net.ipv6.conf.all.disable_ipv6=1",
)
HALF_LOOPBACK = (
    "route del local 127.0.0.0/8 dev lo table local",
    "route replace local 127.0.0.0/9 dev lo table local proto kernel scope host src 127.0.0.1",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plug:
    """What a machine needs to be on the network; kept beside the machine for its next start."""

    machine: str
    internal_ip: str
    external_ip: str | None
    gateway: str
    block: str
    mtu: int = 1460


@dataclass
class Router:
    """The router's namespace, and what it is to be."""

    layout: Layout
    state: NetworkState = field(default_factory=NetworkState)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _rules: str = ""

    @property
    def exists(self) -> bool:
        """Whether the namespace is there."""
        return Path("/run/netns", self.layout.netns).exists()

    def ensure(self) -> None:
        """Make the namespace, empty."""
        with self._lock:
            if self.exists:
                return
            run(["ip", "netns", "add", self.layout.netns])
            run([*self._inside, "sysctl", "-q", "-w", *SETTINGS])
            self._batch("link set lo up", *HALF_LOOPBACK, f"addr add {RESOLVER}/32 dev lo")
            self._batch(f"addr add {firewall.PROBER}/32 dev lo")

    def apply(self, state: NetworkState) -> None:
        """Make addresses, routes and firewall rules as `state` says."""
        with self._lock:
            self.state = state
            self.ensure()
            self._load_rules(firewall.render(state))
            self._sync()

    def plug(self, pid: int, plug: Plug) -> None:
        """Give the machine whose first process is `pid` its network; nothing happens if it has it."""
        name = firewall.interface(plug.machine)
        with self._lock:
            self.ensure()
            if name in self._links() and has_network(pid):  # a list of machines and a start may meet here
                return
            run(["ip", "-n", self.layout.netns, "link", "del", name], allow_failure=True)
            self._batch(f"link add {name} mtu {plug.mtu} type veth peer name eth0 mtu {plug.mtu} netns {pid}")
            run(["nsenter", "-t", str(pid), "-n", "ip", "-batch", "-"], stdin=guest_batch(plug))
            run(["nsenter", "-t", str(pid), "-n", "sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1"])
            self._batch(f"link set {name} up")
            self._sync()

    def unplugged(self) -> set[str]:
        """Return the machines of the state that have no link to the router."""
        links = self._links()
        return {a.machine for a in self.state.attachments if firewall.interface(a.machine) not in links}

    def remove(self) -> None:
        """Take the namespace away, and with it every link, route and rule in it."""
        with self._lock:
            if self.exists:
                run(["ip", "netns", "del", self.layout.netns])

    @property
    def _inside(self) -> list[str]:
        return ["ip", "netns", "exec", self.layout.netns]

    def _batch(self, *lines: str) -> None:
        if lines:
            run(["ip", "-n", self.layout.netns, "-batch", "-"], stdin="\n".join(lines) + "\n")

    def _show(self, *what: str) -> list[dict[str, Any]]:
        answer = run(["ip", "-n", self.layout.netns, "-json", *what])
        return list(json.loads(answer or "[]"))

    def _links(self) -> set[str]:
        return {row["ifname"] for row in self._show("link", "show") if "ifname" in row}

    def _load_rules(self, rules: str) -> None:
        if rules != self._rules:
            run([*self._inside, "nft", "-f", "-"], stdin=rules)
            self._rules = rules

    def _sync(self) -> None:
        present = {
            f"{row['local']}/32"
            for link in self._show("-4", "addr", "show", "dev", "lo")
            for row in link.get("addr_info", ())
            if row["prefixlen"] == 32
        }
        wanted = addresses(self.state)
        self._batch(
            *(f"addr add {address} dev lo" for address in sorted(wanted - present)),
            *(f"addr del {address} dev lo" for address in sorted(present - wanted)),
        )
        shown = self._show("route", "show", "table", "main", "proto", PROTOCOL)
        there = {route_line(r["dst"], r.get("gateway"), r["dev"], r.get("metric", 0), r.get("prefsrc")) for r in shown}
        needed = routes(self.state, self._links())
        for line in sorted(there - needed):  # a machine that goes meanwhile takes its routes with it
            run(["ip", "-n", self.layout.netns, "route", "del", *line.split()], allow_failure=True)
        self._batch(*(f"route replace {line}" for line in sorted(needed - there)))


def has_network(pid: int) -> bool:
    """Return whether the machine whose first process is `pid` has its link already."""
    links = run(["nsenter", "-t", str(pid), "-n", "ip", "-json", "link", "show"])
    return any(row.get("ifname") == "eth0" for row in json.loads(links))


def guest_batch(plug: Plug) -> str:
    """Return what `ip` does inside a machine: address, default route, and the way to external addresses."""
    own = plug.external_ip or firewall.stand_in(plug.internal_ip)
    lines = [
        "link set lo up",
        *HALF_LOOPBACK,
        f"addr add {plug.internal_ip}/32 dev eth0",
        "link set eth0 up",
        f"route add {plug.gateway} dev eth0",
        f"route add default via {plug.gateway} dev eth0",
        f"addr add {own}/32 dev lo",
        f"route add {plug.block} via {plug.gateway} dev eth0 src {own}",
    ]
    return "\n".join(lines) + "\n"


def addresses(state: NetworkState) -> set[str]:
    """Return the router's own addresses: gateways, load balancers, NAT's, the resolver, the health checkers' source."""
    gateways = (gateway(subnet.cidr) for subnet in state.subnets)
    balancers = (balancer.address for balancer in state.load_balancers)
    nats = (nat.address for nat in state.nats)
    return {f"{address}/32" for address in (*gateways, *balancers, *nats, RESOLVER, firewall.PROBER)}


def gateway(cidr: str) -> str:
    """Return a subnet's gateway: its first address."""
    return str(ip_network(cidr)[1])


def routes(state: NetworkState, links: Iterable[str]) -> set[str]:
    """Return the router's routes: to each machine, and the user's through those machines that are there."""
    links = set(links)
    lines = set()
    devices = {a.internal_ip: firewall.interface(a.machine) for a in state.attachments}
    gateways = {(s.network, s.name): gateway(s.cidr) for s in state.subnets}
    for attachment in state.attachments:
        device = devices[attachment.internal_ip]
        if device not in links:
            continue
        source = gateways.get((attachment.network, attachment.subnet))
        lines.add(route_line(attachment.internal_ip, None, device, 0, source))
        outside = attachment.external_ip or firewall.stand_in(attachment.internal_ip)
        lines.add(route_line(outside, attachment.internal_ip, device, 0))
    for route in state.routes:
        through = devices.get(route.next_hop_ip, "")
        if through in links:
            lines.add(route_line(route.dest_range, route.next_hop_ip, through, route.priority))
    return lines


def route_line(dest: str, via: str | None, device: str, metric: int, source: str | None = None) -> str:
    """Return a route as `ip route` takes it."""
    hop = f"via {via} " if via else ""
    onlink = " onlink" if via else ""
    origin = f" src {source}" if source else ""
    return f"{dest.removesuffix('/32')} {hop}dev {device} proto {PROTOCOL} metric {metric}{origin}{onlink}"
