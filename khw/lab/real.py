"""The lab's backend: `khw.lab.backend.Backend` on podman machines, a router namespace, HAProxy and a resolver."""

from __future__ import annotations

import os
import select
import threading
from collections import defaultdict
from typing import TYPE_CHECKING

from khw.errors import LabError
from khw.lab import image, machines
from khw.lab.backend import Health, MachineState, NetworkState
from khw.lab.balancer import Balancer
from khw.lab.machines import Machine
from khw.lab.names import Names
from khw.lab.network import Plug, Router, gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from khw.lab.backend import MachineSpec
    from khw.lab.layout import Layout


class RealBackend:
    """Real machines and a real network for one lab."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._router = Router(layout)
        self._balancer = Balancer(layout)
        self._names = Names(layout)
        self._network = threading.Lock()
        self._locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        self._tell: Callable[[str], None] = lambda _: None
        self._watch = Watch(self)

    def apply_network(self, state: NetworkState) -> None:
        """Make router, rules, names and listeners as `state` says."""
        with self._network:
            self._router.apply(state)
            for name in sorted(self._router.unplugged()):
                self._plug(Machine(self.layout, name))
            self._names.apply(state)
            self._balancer.apply(state)

    def create_machine(self, spec: MachineSpec) -> None:
        """Create and start a machine, and put it on its subnet."""
        machine = Machine(self.layout, spec.name)
        with self._locks[spec.name]:
            if machine.exists:
                self.start_machine(spec.name)
                return
            machine.delete()  # what an interrupted attempt may have left
            machine.set_metadata(spec.metadata)
            try:
                machine.create(image.ensure(spec.image), self._plug_for(spec), spec.project)
                self._plug(machine)
            except BaseException:
                machine.delete()
                raise
            self._watch.add(machine)

    def _plug_for(self, spec: MachineSpec) -> Plug:
        state = self._router.state
        cidr = next((s.cidr for s in state.subnets if s.name == spec.subnet and s.network == spec.network), None)
        if cidr is None:
            msg = f"{spec.name}: the subnet {spec.subnet} of {spec.network} is not there"
            raise LabError(msg)
        mtu = next((n.mtu for n in state.networks if n.name == spec.network), 1460)
        return Plug(
            machine=spec.name,
            internal_ip=spec.internal_ip,
            external_ip=spec.external_ip,
            gateway=gateway(cidr),
            block=self.layout.block,
            mtu=mtu,
        )

    def _plug(self, machine: Machine) -> None:
        if machine.exists and (pid := machine.pid):
            self._router.plug(pid, machine.plug)

    def start_machine(self, name: str) -> None:
        """Start a machine; nothing happens if it runs."""
        with self._locks[name]:
            machine = self._known(name)
            if machine.pid is None:
                machine.start()
                self._plug(machine)
            self._watch.add(machine)

    def stop_machine(self, name: str) -> None:
        """Shut a machine down; nothing happens if it does not run."""
        with self._locks[name]:
            machine = self._known(name)
            if machine.pid is not None:
                machine.stop()

    def reset_machine(self, name: str) -> None:
        """Pull a machine's plug and start it again."""
        with self._locks[name]:
            self._known(name).cut_power()
            self.start_machine(name)

    def delete_machine(self, name: str) -> None:
        """End a machine and remove its disk."""
        with self._locks[name]:
            Machine(self.layout, name).delete()

    def machine_state(self, name: str) -> MachineState:
        """Return what a machine is doing."""
        machine = Machine(self.layout, name)
        if not machine.exists:
            return MachineState.MISSING
        return MachineState.RUNNING if machine.pid else MachineState.STOPPED

    def machines(self) -> Sequence[str]:
        """Return the names of all machines that exist."""
        return tuple(machine.name for machine in machines.every(self.layout))

    def set_metadata(self, name: str, metadata: Mapping[str, str]) -> None:
        """Take over a machine's metadata."""
        with self._locks[name]:
            self._known(name).set_metadata(metadata)

    def serial_output(self, name: str) -> bytes:
        """Return a machine's console since it was last started."""
        return Machine(self.layout, name).console()

    def guest_attributes(self, name: str) -> Mapping[str, str]:
        """Return what a machine has published."""
        return Machine(self.layout, name).published

    def backend_health(self, backend_service: str) -> Mapping[str, Health]:
        """Return what the load balancer's checks say of each machine."""
        return self._balancer.health(backend_service, self._router.state)

    def on_stop(self, tell: Callable[[str], None]) -> None:
        """From now on tell of machines that ended by themselves."""
        self._tell = tell

    def close(self) -> None:
        """End the watch; machines, router, HAProxy and resolver stay."""
        self._watch.close()

    def came_down(self, name: str) -> None:
        """Start a machine again that rebooted itself: on Compute Engine a reboot is no stop."""
        with self._locks[name]:
            machine = Machine(self.layout, name)
            if not machine.exists or machine.pid is not None:
                return
            if machine.asked_to_reboot():
                self.start_machine(name)
                return
        self._tell(name)

    def _known(self, name: str) -> Machine:
        machine = Machine(self.layout, name)
        if not machine.exists:
            msg = f"the machine {name} does not exist"
            raise LabError(msg)
        return machine


class Watch:
    """Sees machines end that nobody stopped through the API."""

    def __init__(self, backend: RealBackend) -> None:
        self._backend = backend
        self._machines: dict[int, tuple[str, int]] = {}  # pidfd → machine and its first process
        self._lock = threading.Lock()
        self._read, self._write = os.pipe()
        self._closed = False
        for machine in machines.every(backend.layout):
            self.add(machine)
        self._thread = threading.Thread(target=self._run, daemon=True, name="machines")
        self._thread.start()

    def add(self, machine: Machine) -> None:
        """Watch the machine that runs now."""
        pid = machine.pid
        if pid is None:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        with self._lock:
            if (machine.name, pid) in self._machines.values():
                os.close(descriptor)
                return
            self._machines[descriptor] = (machine.name, pid)
        os.write(self._write, b".")

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        os.write(self._write, b".")
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._closed:
            with self._lock:
                watched = list(self._machines)
            poll = select.poll()
            for descriptor in (self._read, *watched):
                poll.register(descriptor, select.POLLIN)
            for descriptor, _ in poll.poll():
                if descriptor == self._read:
                    os.read(self._read, 4096)
                else:
                    self._ended(descriptor)

    def _ended(self, descriptor: int) -> None:
        with self._lock:
            name, _ = self._machines.pop(descriptor)
        os.close(descriptor)
        threading.Thread(target=self._restart, args=(name,), daemon=True, name=f"restart-{name}").start()

    def _restart(self, name: str) -> None:
        try:
            self._backend.came_down(name)
        except LabError as error:
            log = self._backend.layout.directory / "machines.log"
            with log.open("a") as file:
                file.write(f"{name}: it rebooted and could not be started: {error}\n")
