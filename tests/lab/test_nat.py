"""Cloud NAT in the lab's router, with empty network namespaces for machines: seconds, and no image."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest
from commandline import LAB
from labnet import INTERNAL, NETWORK, balancer, rule, vpc

from khw.lab.backend import Nat, Traffic
from khw.lab.layout import Layout
from khw.lab.network import Plug, Router

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.lab.backend import NetworkState

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

BLOCK = "127.254.0"  # the last one that a lab may have
PORT = 6443
SEEN = f"{BLOCK}.50"  # NAT's address
PUBLIC = "worker-1"
PRIVATE = "worker-0"

SERVER = """
import socket, sys
listening = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listens", flush=True)
while True:
    connection, (address, _) = listening.accept()
    connection.sendall(address.encode())
    connection.close()
"""
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 2) as connection:
    print(connection.recv(100).decode())
"""
# What kubelet puts on a node (KUBE-FIREWALL): foreign localnet traffic is dropped.
KUBELETS = """
table ip kubelet {
  chain output {
    type filter hook output priority 0
    ip daddr 127.0.0.0/8 ip saddr != 127.0.0.0/8 drop
  }
}
"""


@dataclass(frozen=True)
class Net:
    """A router, and two processes whose networks are machines'."""

    router: Router
    pids: dict[str, int]
    state: NetworkState

    def inside(self, machine: str, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        line = ["nsenter", "-t", str(self.pids[machine]), "-n", *command]
        return subprocess.run(line, input=stdin, capture_output=True, text=True, timeout=30, check=False)

    def seen_as(self, address: str, port: int = PORT) -> str:
        """Connect from the private machine; return the address that the other side sees, '' if it is not reached."""
        return self.inside(PRIVATE, sys.executable, "-c", CLIENT, address, str(port)).stdout.strip()


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    layout = Layout(f"{LAB}-nat", 254)
    router = Router(layout)
    open_to_all = rule("all", Traffic(protocol="tcp", ports=(str(PORT),)))
    whole = vpc(INTERNAL, open_to_all, block=BLOCK, balancers=(replace(balancer(BLOCK), machines=()),))
    mine = {m.machine: m for m in whole.attachments if m.machine in {PRIVATE, PUBLIC}}
    mine[PRIVATE] = replace(mine[PRIVATE], external_ip=None)
    nat = Nat(network=NETWORK, address=SEEN, subnets=None)
    state = replace(whole, attachments=tuple(mine.values()), nats=(nat,))
    processes = {name: subprocess.Popen(["unshare", "--net", "sleep", "100"]) for name in mine}
    try:
        router.remove()  # a killed run's leftover
        router.apply(state)
        it = Net(router, {name: process.pid for name, process in processes.items()}, state)
        _wait_for_own_networks(it)
        for name, machine in mine.items():
            gateway = str(IPv4Network(state.subnets[0].cidr)[1])
            ip = machine.internal_ip
            plug = Plug(
                machine=name, internal_ip=ip, external_ip=machine.external_ip, gateway=gateway, block=layout.block
            )
            router.plug(processes[name].pid, plug)
        assert it.inside(PRIVATE, "nft", "-f", "-", stdin=KUBELETS).returncode == 0
        places = {
            "balancer": ["ip", "netns", "exec", layout.netns, sys.executable, "-c", SERVER, f"{BLOCK}.100", str(PORT)],
            "public": ["nsenter", "-t", str(it.pids[PUBLIC]), "-n", sys.executable, "-c", SERVER, "0.0.0.0", str(PORT)],  # noqa: S104 - in a namespace
        }
        for name, line in places.items():
            processes[name] = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
            assert processes[name].stdout.readline() == "listens\n"  # type: ignore[union-attr]  # it is a pipe
        yield it
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
        router.remove()


def _wait_for_own_networks(net: Net) -> None:
    """`unshare` needs a moment."""
    limit = time.monotonic() + 10
    while any(net.inside(name, "ip", "-brief", "link").stdout.count("\n") != 1 for name in net.pids):
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_machine_without_external_address_is_seen_at_nats_by_the_load_balancer_every_time(net: Net) -> None:
    assert [net.seen_as(f"{BLOCK}.100") for _ in range(3)] == [SEEN] * 3


def test_and_by_machines_at_their_external_addresses_but_not_within_the_network(net: Net) -> None:
    public = next(m for m in net.state.attachments if m.machine == PUBLIC)
    assert net.seen_as(str(public.external_ip)) == SEEN
    assert net.seen_as(public.internal_ip) == "10.240.0.20"


def test_without_nat_it_reaches_no_external_address_and_its_own_network_still(net: Net) -> None:
    public = next(m for m in net.state.attachments if m.machine == PUBLIC)
    net.router.apply(replace(net.state, nats=()))
    try:
        assert net.seen_as(f"{BLOCK}.100") == ""
        assert net.seen_as(str(public.external_ip)) == ""
        assert net.seen_as(public.internal_ip) == "10.240.0.20"
    finally:
        net.router.apply(net.state)
