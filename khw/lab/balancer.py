"""
External addresses and load balancers: one HAProxy for each lab, its configuration rendered from what is wanted.

HAProxy listens on the loopback block outside and connects inside the lab's namespace. What a firewall rule does not
open has no listener. It is reloaded without a gap: the new process takes the listeners over and the old one ends with
its last connection.
"""

from __future__ import annotations

import csv
import io
import os
import signal
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from khw.errors import LabError
from khw.files import write_atomically
from khw.lab import listeners
from khw.lab.backend import Health, NetworkState
from khw.lab.command import processes, run
from khw.lab.firewall import ANYWHERE, PROBER, merged_ports, rules_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from khw.lab.backend import Attachment, HealthCheck, LoadBalancer
    from khw.lab.firewall import Rule
    from khw.lab.layout import Layout


@dataclass
class Balancer:
    """The lab's HAProxy."""

    layout: Layout
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _led: str = ""

    @property
    def config(self) -> Path:
        """The configuration file; its path is also how the lab's HAProxy processes are known."""
        return self.layout.directory / "haproxy.cfg"

    @property
    def _pid_file(self) -> Path:
        return self.layout.directory / "haproxy.pid"

    @property
    def _socket(self) -> Path:
        return self.layout.directory / "haproxy.sock"

    def apply(self, state: NetworkState) -> None:
        """Serve what `state` says; nothing happens if that is what is served."""
        held = listeners.held_ports()
        text = render(state, self.layout.netns, self.layout.directory, held)
        with self._lock:
            self._lead(listeners.render_host(state, self.layout.netns, held))
            serving = self._serving()
            if serving and self.config.exists() and self.config.read_text() == text:
                return
            self._keep_health()
            before = self.config.read_bytes() if self.config.exists() else None
            write_atomically(self.config, text.encode(), mode=0o600)
            command = ["haproxy", "-D", "-f", str(self.config), "-p", str(self._pid_file)]
            try:
                self._replace(command, serving)
            except LabError:
                self.config.unlink() if before is None else write_atomically(self.config, before, mode=0o600)
                raise

    def _replace(self, command: list[str], serving: int | None) -> None:
        """Start a process that takes the place of the one that serves."""
        if serving is None:
            run(command)
            return
        try:
            run([*command, "-x", str(self._socket), "-sf", str(serving)])
        except LabError:  # it cannot take the listeners over; then it opens them beside the old one's
            run([*command, "-sf", str(serving)])

    def health(self, backend_service: str, state: NetworkState) -> Mapping[str, Health]:
        """Return what the health checks say of the machines behind a backend service."""
        with self._lock:
            rows = self._statistics()
        found: dict[str, Health] = {}
        for balancer in state.load_balancers:
            if balancer.backend_service == backend_service:
                for machine in balancer.machines:
                    found[machine] = rows.get((f"check-{balancer.name}", machine), Health.UNHEALTHY)
        return found

    def end(self) -> None:
        """End every HAProxy process of this lab, those that only finish old connections too."""
        for pid in self._processes():
            os.kill(pid, signal.SIGKILL)
        run(["nft", "delete", "table", "ip", self.layout.netns], allow_failure=True)

    def _lead(self, rules: str) -> None:
        """Load the host's rules for this lab, if they are others than before."""
        if rules != self._led:
            run(["nft", "-f", "-"], stdin=rules)
            self._led = rules

    @property
    def runs(self) -> bool:
        """Whether it serves."""
        return self._serving() is not None

    def _serving(self) -> int | None:
        try:
            pid = int(self._pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if pid in self._processes() else None

    def _processes(self) -> list[int]:
        return processes("haproxy", str(self.config))

    def _ask(self, command: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(str(self._socket))
                connection.sendall(command.encode() + b"\n")
                return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        except OSError:
            return ""

    def _keep_health(self) -> None:
        """Save what the checks know, so that a reload does not make sick servers look well."""
        write_atomically(self.layout.directory / "haproxy.state", self._ask("show servers state").encode())

    def _statistics(self) -> dict[tuple[str, str], Health]:
        text = self._ask("show stat").removeprefix("# ")
        rows = csv.DictReader(io.StringIO(text))
        return {(row["pxname"], row["svname"]): read_health(row) for row in rows}


def read_health(row: Mapping[str, str]) -> Health:
    """Return a server's health from a line of HAProxy's statistics; one that was never checked is not well yet."""
    checked = row.get("check_status", "") not in {"", "INI"}
    well = row.get("status", "").startswith("UP") and checked
    return Health.HEALTHY if well else Health.UNHEALTHY


def render(state: NetworkState, netns: str, directory: Path, held: frozenset[int] = frozenset()) -> str:
    """Return HAProxy's whole configuration."""
    lines = [
        "global",
        "    maxconn 4000",
        f"    stats socket {directory}/haproxy.sock mode 600 level admin expose-fd listeners",
        f"    server-state-file {directory}/haproxy.state",
        "defaults",
        "    mode tcp",
        "    timeout connect 5s",
        "    timeout client 24h",
        "    timeout server 24h",
        "    timeout check 5s",
        "    load-server-state-from-file global",
    ]
    for machine in state.attachments:
        lines += _machine(state, machine, netns, held)
    for balancer in state.load_balancers:
        lines += _balancer(state, balancer, netns, held)
    return "\n".join(lines) + "\n"


def _machine(state: NetworkState, machine: Attachment, netns: str, held: frozenset[int]) -> Iterator[str]:
    ports = listeners.bind_ports(listeners.of_machine(state, machine), held)
    if not ports:
        return
    yield f"frontend {machine.machine}"
    yield from (f"    bind {machine.external_ip}:{port}" for port in ports)
    yield from _gate(rules_of(state, machine, "INGRESS"))
    yield f"    default_backend machine-{machine.machine}"
    yield f"backend machine-{machine.machine}"
    yield "    retries 0"  # a machine that refuses is heard at once
    yield f"    server {machine.machine} {machine.internal_ip} namespace {netns}"


def _balancer(state: NetworkState, balancer: LoadBalancer, netns: str, held: frozenset[int]) -> Iterator[str]:
    machines = {machine.machine: machine for machine in state.attachments}
    behind = [machines[name] for name in balancer.machines if name in machines]
    rules = [rules_of(state, machine, "INGRESS") for machine in behind]
    yield f"frontend balancer-{balancer.name}"
    ports = listeners.bind_ports(merged_ports(balancer.ports), held)
    yield from (f"    bind {balancer.address}:{port}" for port in ports)
    yield from (f"    bind {balancer.address}:{port} namespace {netns}" for port in balancer.ports)
    yield from _gate(rules[0] if rules else ())  # machines of one group have the same tags
    yield f"    default_backend balancer-{balancer.name}"
    yield f"backend balancer-{balancer.name}"
    yield "    balance leastconn"
    yield "    retries 3"
    yield "    option redispatch 1"
    check = balancer.health_check
    for machine in behind:
        watched = f" track check-{balancer.name}/{machine.machine}" if check else ""
        down = " on-marked-down shutdown-sessions" if check else ""
        yield f"    server {machine.machine} {machine.internal_ip} namespace {netns}{watched}{down}"
    if check:
        yield from _checks(balancer, check, behind, netns)


def _checks(balancer: LoadBalancer, check: HealthCheck, behind: Sequence[Attachment], netns: str) -> Iterator[str]:
    yield f"backend check-{balancer.name}"
    yield f"    source {PROBER}"
    yield f"    timeout check {check.timeout}s"
    if check.kind != "TCP":
        host = check.host or balancer.address
        yield "    option httpchk"
        yield f"    http-check send meth GET uri {check.path} ver HTTP/1.1 hdr Host {host}"
        yield "    http-check expect status 200"
    secure = " check-ssl verify none" if check.kind == "HTTPS" else ""
    # A change of state is looked at closely, so that a fresh API server is not left waiting for an interval.
    pace = f"inter {check.interval}s fastinter 500ms downinter 1s"
    count = f"rise {check.healthy_threshold} fall {check.unhealthy_threshold}"
    for machine in behind:
        target = f"{machine.internal_ip}:{check.port}"
        yield f"    server {machine.machine} {target} namespace {netns} check{secure} {pace} {count}"


def _gate(rules: Iterable[Rule]) -> Iterator[str]:
    """Render firewall rules in their order; the first that matches decides, and nothing matching means no."""
    for rule in rules:
        verdict = "accept" if rule.allow else "reject"
        peers = "" if ANYWHERE in rule.peers else f"{{ src {' '.join(map(str, rule.peers))} }}"
        for traffic in rule.traffic:
            if traffic.protocol in {"tcp", "6", "all"}:
                spans = " ".join(listeners.text(*span).replace("-", ":") for span in merged_ports(traffic.ports))
                wanted = " ".join(filter(None, (peers, f"{{ dst_port {spans} }}" if spans else "")))
                yield f"    tcp-request connection {verdict}{f' if {wanted}' if wanted else ''}"
    yield "    tcp-request connection reject"
