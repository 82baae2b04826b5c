"""
Bare machines: what stands in a rack of one's own, for the provider `static`.

A network namespace holds one switch (a bridge), and each machine hangs on it with an address of its own, as in any
room with a cable. There is no project and no API, no load balancer and no router with routes to pods: the gateway knows
its own network and nothing else. A lab by its layout, so that `khw lab down` takes it away; khw itself is not told that
it is one. Whoever is to reach the machines steps into their network (`ip netns exec`, khw lab bare exec): the host has
no route to them.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

from khw.errors import LabError
from khw.lab import image, layout, machines, preflight
from khw.lab.command import run
from khw.lab.firewall import interface
from khw.lab.layout import exclusively
from khw.lab.machines import KEY_TYPES, Machine
from khw.lab.network import Plug, has_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from khw.lab.layout import Layout

BRIDGE = "switch"
SETTINGS = (
    "net.ipv4.ip_forward=0",  # the gateway leads nowhere: nothing leaves this machine
    "net.ipv4.conf.all.send_redirects=0",
    "net.ipv6.conf.all.disable_ipv6=1",
)
BOOT_SECONDS = 60
POLL = 0.1


@dataclass(frozen=True, slots=True)
class Bare:
    """A machine that is wanted: its host name, and its address with the network's prefix."""

    name: str
    address: IPv4Interface

    @classmethod
    def parse(cls, text: str) -> Bare:
        """Read NAME=ADDRESS[/PREFIX]; a network is a /24 unless it says otherwise."""
        name, equals, address = text.partition("=")
        try:
            layout.check_name(name)
            return cls(name, IPv4Interface(address if "/" in address else f"{address}/24"))
        except (ValueError, LabError):
            msg = f"{text!r} is not NAME=ADDRESS{'' if equals else ' (there is no =)'}"
            raise LabError(msg, hint="controller-0=10.240.0.10") from None

    @property
    def gateway(self) -> str:
        """The network's first address."""
        return str(self.address.network[1])


@dataclass(frozen=True, slots=True)
class Row:
    """A machine that stands, as its owner writes it down."""

    name: str
    address: str
    host_keys: tuple[str, ...]


def up(
    name: str,
    wanted: Sequence[Bare],
    *,
    ssh_keys: Sequence[str],
    image_name: str = image.DEFAULT,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Row, ...]:
    """Start these machines beside those that stand, `ssh_keys` being USER:KEY lines; return all once they booted."""
    preflight.check()
    for line in preflight.raise_limits():
        progress(line)
    reference = image.ensure(image.BARE + image_name, progress=progress)
    with exclusively("labs"):
        lab = layout.allocate(name)
        for bare in wanted:
            _ensure_switch(lab, bare)
            _ensure_machine(lab, bare, reference, ssh_keys)
    return rows(lab, wait=True)


def rows(lab: Layout, *, wait: bool = False) -> tuple[Row, ...]:
    """Return the machines with their host keys; with `wait` once each has made its own."""
    limit = time.monotonic() + BOOT_SECONDS
    while True:
        found = [(machine, tuple(_keys(machine))) for machine in machines.every(lab)]
        silent = [machine.name for machine, keys in found if not keys]
        if not (wait and silent):
            return tuple(Row(machine.name, machine.plug.internal_ip, keys) for machine, keys in found)
        if time.monotonic() > limit:
            msg = f"{', '.join(silent)} did not boot within {BOOT_SECONDS} s"
            raise LabError(msg, hint=f"their consoles: {lab.machines}/*/console.log")
        time.sleep(POLL)


def start(name: str, machine_name: str) -> None:
    """Switch a machine on that was switched off, or that rebooted: nobody else does it here."""
    machine = _known(name, machine_name)
    if machine.pid is None:
        machine.start()
    _plug(machine.layout, machine)


def stop(name: str, machine_name: str, *, politely: bool = True) -> None:
    """Shut a machine down, or pull its plug."""
    machine = _known(name, machine_name)
    machine.stop() if politely else machine.cut_power()


def inside(name: str, command: Sequence[str]) -> list[str]:
    """Return the command line that runs `command` as somebody who stands in the machines' network."""
    lab = _lab(name)
    return ["ip", "netns", "exec", lab.netns, *command]


def _keys(machine: Machine) -> Iterator[str]:
    published = machine.published
    yield from (
        f"{kind} {published[f'hostkeys/{kind}']}" for kind in KEY_TYPES.values() if f"hostkeys/{kind}" in published
    )


def _ensure_switch(lab: Layout, bare: Bare) -> None:
    """Make the namespace and its switch, with the gateway's address."""
    spaces = run(["ip", "netns", "list"]).split()
    if lab.netns not in spaces:
        run(["ip", "netns", "add", lab.netns])
        run(["ip", "netns", "exec", lab.netns, "sysctl", "-q", "-w", *SETTINGS])
        lines = ["link set lo up", f"link add {BRIDGE} type bridge", f"link set {BRIDGE} up"]
        run(["ip", "-n", lab.netns, "-batch", "-"], stdin="\n".join(lines) + "\n")
    address = f"{bare.gateway}/{bare.address.network.prefixlen}"
    if address not in run(["ip", "-n", lab.netns, "-brief", "address", "show", "dev", BRIDGE]).split():
        run(["ip", "-n", lab.netns, "address", "add", address, "dev", BRIDGE])


def _ensure_machine(lab: Layout, bare: Bare, reference: str, ssh_keys: Sequence[str]) -> None:
    machine = Machine(lab, bare.name)
    known = machine.exists
    if not known:
        machine.delete()  # what an interrupted attempt may have left
    machine.set_metadata({"ssh-keys": "\n".join(ssh_keys)})
    if not known:
        plug = Plug(
            machine=bare.name,
            internal_ip=str(bare.address.ip),
            external_ip=None,
            gateway=bare.gateway,
            block=str(bare.address.network),
            mtu=1500,
        )
        machine.create(reference, plug, lab.project)
    elif machine.pid is None:
        machine.start()
    _plug(lab, machine)


def _plug(lab: Layout, machine: Machine) -> None:
    """Give a running machine its cable; nothing happens if it has it."""
    pid, plug = machine.pid, machine.plug
    if pid is None or has_network(pid):
        return
    name = interface(machine.name)
    run(["ip", "-n", lab.netns, "link", "del", name], allow_failure=True)
    link = (
        f"link add {name} type veth peer name eth0 netns {pid}\nlink set {name} master {BRIDGE}\nlink set {name} up\n"
    )
    run(["ip", "-n", lab.netns, "-batch", "-"], stdin=link)
    run(["nsenter", "-t", str(pid), "-n", "ip", "-batch", "-"], stdin=guest_batch(plug))


def guest_batch(plug: Plug) -> str:
    """Return what `ip` does inside a machine: its address in its network, and the default route."""
    prefix = plug.block.rpartition("/")[2]
    lines = [
        "link set lo up",
        f"address add {plug.internal_ip}/{prefix} dev eth0",
        "link set eth0 up",
        f"route add default via {plug.gateway} dev eth0",
    ]
    return "\n".join(lines) + "\n"


def _known(name: str, machine_name: str) -> Machine:
    machine = Machine(_lab(name), machine_name)
    if not machine.exists:
        there = ", ".join(each.name for each in machines.every(machine.layout)) or "none"
        msg = f"{name} has no machine {machine_name!r}"
        raise LabError(msg, hint=f"it has {there}")
    return machine


def _lab(name: str) -> Layout:
    lab = layout.find(name)
    if lab is None:
        msg = f"there are no machines called {name!r}"
        raise LabError(msg, hint=f"khw lab bare up --name {name} controller-0=10.240.0.10")
    return lab


def as_data(found: Sequence[Row]) -> list[dict[str, object]]:
    """Return the rows for -o json and yaml."""
    return [{**asdict(row), "host_keys": list(row.host_keys)} for row in found]
