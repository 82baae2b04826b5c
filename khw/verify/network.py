"""The network: routes (chapter 11), pod to pod, a service address, a NodePort from outside."""

from __future__ import annotations

import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from itertools import permutations
from typing import TYPE_CHECKING

from khw.verify.bench import PORT
from khw.verify.check import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.cluster.model import Node
    from khw.inventory.provider import Route
    from khw.verify.bench import Bench, Pod
    from khw.verify.context import Context

AT_ONCE = 4
ELSEWHERE = "they are in a router of your own (static.routes: own), of which khw knows nothing; pod to pod tries them"
SETTLE_SECONDS = 10.0  # kube-proxy writes its rules a moment after the Service and its pods are there
POLL_SECONDS = 0.5


def routes(context: Context) -> Iterable[Finding]:
    """Expect a route to each worker's pods, by way of that worker, and none else into the cluster CIDR."""
    if static := context.cluster.spec.static:
        if static.routes == "own":
            yield Finding(ok=None, expected="", actual=ELSEWHERE)
        return  # otherwise they lie on the nodes: khw.verify.pod_routes
    table = list(context.provider.routes())
    for node in context.cluster.workers:
        yield judge_route(node, table)
    ranges = {node.pod_cidr for node in context.cluster.workers}
    for route in table:
        if route.dest_range not in ranges and _in_cluster(context, route):
            yield Finding(
                ok=False,
                subject=route.name,
                expected="no route into the cluster CIDR but the workers'",
                actual=f"{route.dest_range} by {route.next_hop}",
                hint="khw routes; a worker that is gone may have left it",
            )


def judge_route(node: Node, table: Iterable[Route]) -> Finding:
    """Judge the route to one worker's pods."""
    rows = [route for route in table if route.dest_range == node.pod_cidr]
    seen = ", ".join(f"{route.name} by {route.next_hop}" for route in rows)
    return Finding(
        ok=bool(rows) and all(route.next_hop == node.internal_ip for route in rows),
        node=node.name,
        expected=f"{node.pod_cidr} by {node.internal_ip}",
        actual=seen or f"no route to {node.pod_cidr}",
        hint="khw run --phase routes; khw routes",
    )


def pod_to_pod(context: Context, bench: Bench) -> Iterable[Finding]:
    """Connect over every ordered pair of workers."""
    names = [node.name for node in context.cluster.workers]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda pair: _connect(bench, *pair), permutations(names, 2))


def _connect(bench: Bench, source: str, target: str) -> Finding:
    expected = "a pod here reaches a pod there"
    hint = f"khw routes; khw verify's routes and units of {source} and {target}; sudo iptables -nL FORWARD on both"
    if absent := bench.absent(source, target):
        return Finding(ok=None, node=source, subject=f"to {target}", expected=expected, actual=absent)
    there = bench.pods[target]
    reason = bench.connect(bench.pods[source], f"{there.address}:{PORT}")
    return Finding(
        ok=not reason,
        node=source,
        subject=f"to {target}",
        expected=expected,
        actual=f"{there.address}:{PORT} {reason or 'answers'}",
        hint=hint,
    )


def service(context: Context, bench: Bench) -> Iterable[Finding]:
    """Connect to service addresses from a pod on each worker: the API's, and the test pods'."""
    targets = {
        "kubernetes": f"{context.cluster.network.service_address}:443",
        "echo": f"{bench.service_address}:80",
    }
    questions = [(node.name, name) for node in context.cluster.workers for name in targets]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda q: _service(bench, q[0], q[1], targets[q[1]]), questions)


def _service(bench: Bench, node: str, name: str, target: str) -> Finding:
    expected = f"a pod here reaches the Service {name}"
    if absent := bench.absent(node):
        return Finding(ok=None, node=node, subject=name, expected=expected, actual=absent)
    reason = _reached(bench, bench.pods[node], target, SETTLE_SECONDS)
    return Finding(
        ok=not reason,
        node=node,
        subject=name,
        expected=expected,
        actual=f"{target} {reason or 'answers'}",
        hint="sudo systemctl status kube-proxy; sudo journalctl -u kube-proxy -n 50; kubectl get endpointslices -A",
    )


def _reached(bench: Bench, pod: Pod, target: str, seconds: float) -> str:
    """Connect until it works or `seconds` are over; return '' or the last reason."""
    deadline = time.monotonic() + seconds
    while (reason := bench.connect(pod, target)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return reason


def node_port(context: Context, bench: Bench) -> Iterable[Finding]:
    """Ask each worker's NodePort from here; from a pod where we have no way there but through a bastion."""

    def look(node: Node) -> Finding:
        private = context.cluster.spec.private_nodes or (node.ssh_jump and not node.external_ip)
        return _private_node_port(bench, node) if private else _node_port(context, node, bench.node_port)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(look, context.cluster.workers)


def _private_node_port(bench: Bench, node: Node) -> Finding:
    """Ask from a pod of another worker if there is one: nothing outside has a way to the node's address."""
    target = f"{node.internal_ip}:{bench.node_port}"
    expected = f"a pod answers at {target}, asked from a pod: the node is behind a bastion"
    others = sorted(bench.pods, key=lambda name: (name == node.name, name))
    if not others:
        return Finding(ok=None, node=node.name, expected=expected, actual="there is no pod to ask from")
    reason = _reached(bench, bench.pods[others[0]], target, SETTLE_SECONDS)
    return Finding(
        ok=not reason,
        node=node.name,
        expected=expected,
        actual=f"{target} {reason or 'answers'}",
        hint="sudo systemctl status kube-proxy; khw run --phase compute shows the firewall's rules",
    )


def _node_port(context: Context, node: Node, port: int) -> Finding:
    address = node.external_ip or node.internal_ip
    expected = f"a pod answers at {address}:{port}"
    if node.name in context.unreachable:
        return Finding(ok=None, node=node.name, expected=expected, actual="the node is not reachable")
    url = f"http://{address}:{port}/hostname"
    said = fetch(url, SETTLE_SECONDS)
    return Finding(
        ok=said.startswith("echo-"),
        node=node.name,
        expected=expected,
        actual=f"{said} answers" if said.startswith("echo-") else said,
        hint="is the NodePort open to you (firewall, source_ranges)? sudo systemctl status kube-proxy",
    )


def fetch(url: str, seconds: float) -> str:
    """Return what `url` answers, or why it does not within `seconds`. No proxy of the environment is used."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + seconds
    while True:
        try:
            with opener.open(url, timeout=3.0) as answer:
                return str(answer.read(4096).decode(errors="replace").strip())
        except OSError as error:
            if time.monotonic() > deadline:
                return str(getattr(error, "reason", error))
        time.sleep(POLL_SECONDS)


def _in_cluster(context: Context, route: Route) -> bool:
    return IPv4Network(route.dest_range).subnet_of(context.cluster.network.cluster_cidr)
