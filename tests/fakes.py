"""What tests of several packages share: a cluster and a lab's backend with no machine behind them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from khw.cluster.model import Cluster, Facts, Node
from khw.cluster.spec import Spec
from khw.errors import LabError
from khw.lab.backend import Health, MachineState, NetworkState
from khw.ssh.client import Completed, RemoteCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from khw.lab.backend import MachineSpec


OWN_MACHINES = """\
name: mine
provider: static
static:
  api_address: 192.0.2.100
  nodes:
    - {name: c, role: controller, address: 192.0.2.10, host_keys: [ssh-ed25519 AAAA]}
    - {name: w, role: worker, address: 192.0.2.20, pod_cidr: 10.200.0.0/24, host_keys: [ssh-ed25519 BBBB]}
"""
"""A khw.yaml of machines of one's own: a controller and a worker, whose host keys are known."""


def cluster(spec: Spec | None = None, *, api_address: str = "198.51.100.100") -> Cluster:
    spec = spec or Spec()
    nodes = tuple(
        Node(
            name=planned.name,
            role=planned.role,
            internal_ip=str(planned.address),
            external_ip=f"198.51.100.{int(planned.address) & 0xFF}",
            pod_cidr=str(planned.pod_cidr) if planned.pod_cidr else None,
            also=planned.also,
        )
        for planned in spec.planned
    )
    return Cluster(spec, nodes, api_address)


@dataclass
class FakeBackend:
    """A lab's backend that only remembers. `fails` maps a call to what it says; `gate` holds the calls up."""

    network: NetworkState = field(default_factory=NetworkState)
    applied: int = 0
    specs: dict[str, MachineSpec] = field(default_factory=dict)
    states: dict[str, MachineState] = field(default_factory=dict)
    metadata: dict[str, Mapping[str, str]] = field(default_factory=dict)
    health: dict[str, Health] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=lambda: {"hostkeys/ssh-ed25519": "AAAAkey"})
    console: bytes = b"booting\nready\n"
    fails: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    closed: bool = False
    tell: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self.gate.set()

    def _call(self, what: str, name: str = "") -> None:
        assert self.gate.wait(30)
        self.calls.append((what, name))
        if what in self.fails:
            raise LabError(self.fails[what])

    def apply_network(self, state: NetworkState) -> None:
        self._call("apply_network")
        self.network = state
        self.applied += 1

    def create_machine(self, spec: MachineSpec) -> None:
        self._call("create_machine", spec.name)
        self.specs[spec.name] = spec
        self.metadata[spec.name] = spec.metadata
        self.states[spec.name] = MachineState.RUNNING

    def start_machine(self, name: str) -> None:
        self._call("start_machine", name)
        self.states[name] = MachineState.RUNNING

    def stop_machine(self, name: str) -> None:
        self._call("stop_machine", name)
        self.states[name] = MachineState.STOPPED

    def reset_machine(self, name: str) -> None:
        self._call("reset_machine", name)

    def delete_machine(self, name: str) -> None:
        self._call("delete_machine", name)
        self.states.pop(name, None)

    def machine_state(self, name: str) -> MachineState:
        return self.states.get(name, MachineState.MISSING)

    def machines(self) -> Sequence[str]:
        return list(self.states)

    def set_metadata(self, name: str, metadata: Mapping[str, str]) -> None:
        self._call("set_metadata", name)
        self.metadata[name] = metadata

    def serial_output(self, _name: str) -> bytes:
        return self.console

    def guest_attributes(self, _name: str) -> Mapping[str, str]:
        return self.attributes

    def backend_health(self, _backend_service: str) -> Mapping[str, Health]:
        return self.health

    def on_stop(self, tell: Callable[[str], None]) -> None:
        self.tell = tell

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeAgent:
    """An agent on a node that is not there: `answer` gives what a command prints, or its whole `Completed`."""

    answer: Callable[[tuple[str, ...]], str | Completed]
    facts: Facts = field(default_factory=Facts)
    exchanges: int = 0
    limit: float = 0.0  # of the last exchange, in seconds

    def run(self, *commands: RemoteCommand, timeout: float = 120.0) -> list[Completed]:
        assert timeout > 0
        self.exchanges += 1
        self.limit = timeout
        return [self._completed(command.argv) for command in commands]

    def _completed(self, argv: tuple[str, ...]) -> Completed:
        said = self.answer(argv)
        return said if isinstance(said, Completed) else Completed(argv, 0, said, "")


@dataclass
class FakeKubectl:
    """kubectl without a cluster: `answer` gives what it prints, as a text or as what the JSON decodes to."""

    answer: Callable[[tuple[str, ...]], Any]
    calls: list[tuple[str, ...]] = field(default_factory=list)
    stdin: list[Any] = field(default_factory=list)

    def run(self, *arguments: str, stdin: Any = None, timeout: float = 30.0) -> str:
        return str(self.json(*arguments, stdin=stdin, timeout=timeout))

    def json(self, *arguments: str, stdin: Any = None, timeout: float = 30.0) -> Any:
        assert timeout > 0
        self.calls.append(arguments)
        self.stdin.append(stdin)
        return self.answer(arguments)
