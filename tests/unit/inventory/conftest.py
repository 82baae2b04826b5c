"""The emulated project that the provider is tested against: the lab's API before machines that are only names."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import uvicorn

from khw.cluster.spec import Gcp, Pool, Spec, Timeouts
from khw.errors import LabError
from khw.inventory import provider_for
from khw.inventory.gcp.clients import Api
from khw.inventory.gcp.provider import GcpProvider
from khw.lab import daemon
from khw.lab.api import rights
from khw.lab.backend import Health, MachineState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from khw.cluster.model import Cluster
    from khw.lab.api.project import Project
    from khw.lab.backend import MachineSpec, NetworkState

PROJECT = "khw-unit"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


@dataclass
class Names:
    """A backend whose machines are names: what it was told is what a test looks at."""

    specs: dict[str, MachineSpec] = field(default_factory=dict)
    states: dict[str, MachineState] = field(default_factory=dict)
    network: NetworkState | None = None
    silent: set[str] = field(default_factory=set)  # machines that publish no host keys
    broken: set[str] = field(default_factory=set)  # machines that cannot be created
    gate: threading.Barrier | None = None  # if set, creations wait there for each other
    log: list[str] = field(default_factory=list)

    def apply_network(self, state: NetworkState) -> None:
        self.network = state

    def create_machine(self, spec: MachineSpec) -> None:
        if self.gate:
            self.gate.wait(timeout=10)
        if spec.name in self.broken:
            raise LabError(f"no room for {spec.name}")
        self.specs[spec.name] = spec
        self.states[spec.name] = MachineState.RUNNING
        self.log.append(f"create {spec.name}")

    def start_machine(self, name: str) -> None:
        self.states[name] = MachineState.RUNNING
        self.log.append(f"start {name}")

    def stop_machine(self, name: str) -> None:
        self.states[name] = MachineState.STOPPED
        self.log.append(f"stop {name}")

    def reset_machine(self, name: str) -> None:
        self.log.append(f"reset {name}")

    def delete_machine(self, name: str) -> None:
        self.specs.pop(name, None)
        self.states.pop(name, None)
        self.log.append(f"delete {name}")

    def machine_state(self, name: str) -> MachineState:
        return self.states.get(name, MachineState.MISSING)

    def machines(self) -> Sequence[str]:
        return list(self.specs)

    def set_metadata(self, name: str, metadata: Mapping[str, str]) -> None:
        """Metadata are looked at in the API."""

    def on_stop(self, tell: Callable[[str], None]) -> None:
        """Names do not end by themselves."""

    def serial_output(self, name: str) -> bytes:
        return name.encode()

    def guest_attributes(self, name: str) -> Mapping[str, str]:
        return {} if name in self.silent else {"hostkeys/ssh-ed25519": KEY.split()[1]}

    def backend_health(self, backend_service: str) -> Mapping[str, Health]:
        return {}

    def close(self) -> None:
        """Nothing is held."""


class Lab:
    """The lab's API on a loopback port, and the backend behind it."""

    def __init__(self, state: Path) -> None:
        self.backend = Names()
        self._lab = daemon.Lab("unit", state, "127.249.0.2", self.backend)
        self.project = self._lab.project
        config = uvicorn.Config(self._lab.application, port=0, log_config=None, ws="none", lifespan="off")
        self._server = daemon.LabServer(config, self._lab.operations)
        self._socket = config.bind_socket()
        self._socket.listen(64)  # what connects from now on waits until the server is up
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    def __enter__(self) -> Lab:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.handle_exit(signal.SIGTERM, None)
        self._thread.join()
        self._lab.close()
        self._socket.close()

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def spec(self, **changes: object) -> Spec:
        """Return a cluster of one controller and two workers in this project."""
        fields: dict[str, object] = {
            "name": "unit",
            "gcp": Gcp(project=PROJECT, endpoint=self.endpoint, credentials="anonymous"),
            "controllers": Pool(name="controller", first_address="10.240.0.10", count=1),
            "workers": Pool(name="worker", first_address="10.240.0.20", count=2),
            "timeouts": Timeouts(boot=2, cloud=20),
            **changes,
        }
        return Spec.model_validate(fields)

    @property
    def api(self) -> Api:
        """Return the project's API, for what somebody else does in it."""
        spec = self.spec()
        assert spec.gcp
        return Api(spec.gcp, timeout=20)

    def provider(self, **changes: object) -> GcpProvider:
        """Return a provider for such a cluster."""
        provider = provider_for(self.spec(**changes), KEY)
        assert isinstance(provider, GcpProvider)
        return provider

    @staticmethod
    def made(provider: GcpProvider) -> Cluster:
        """Make all that a run makes in the project, and return the cluster."""
        provider.ensure_compute()
        cluster = provider.discover()
        provider.ensure_load_balancer(cluster)
        provider.ensure_routes(cluster)
        return cluster


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path) as it:
        yield it


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The rights in the project that requests need, gathered as they come; images are another project's, and public."""
    found: set[str] = set()
    require = rights.require

    def watched(project: Project, method: str, name: str) -> None:
        if not (right := rights.permission(method)).startswith("compute.images."):
            found.add(right)
        require(project, method, name)

    monkeypatch.setattr(rights, "require", watched)
    return found
