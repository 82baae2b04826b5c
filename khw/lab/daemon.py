"""
The daemon of a lab: `python -m khw.lab.daemon --name NAME --state DIR --host IP --port PORT`.

It serves the API on one loopback address, keeps the lab's state in DIR/state.json and its log in DIR/daemon.log,
and ends on SIGTERM when what runs has ended; the machines stay. When it starts it makes the machines and the
network what the state says.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from khw.errors import LabError
from khw.lab.api.app import application
from khw.lab.api.desired import machine_spec
from khw.lab.api.instances import ended_by_itself
from khw.lab.api.operations import Operations
from khw.lab.api.project import Project
from khw.lab.api.service import Service
from khw.lab.api.table import KINDS
from khw.lab.backend import MachineState
from khw.lab.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from khw.lab.backend import Backend
    from khw.lab.state import Entry

log = logging.getLogger(__name__)

HOLD_SECONDS = 5  # how long requests that are held up (a fault's silence) hold up the daemon's end


class LabServer(uvicorn.Server):
    """A uvicorn server that answers waiting clients before it ends."""

    def __init__(self, config: uvicorn.Config, operations: Operations) -> None:
        super().__init__(config)
        self._operations = operations

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Answer each `wait` with what is, then end as uvicorn does."""
        self._operations.release()
        super().handle_exit(sig, frame)


class Lab:
    """A lab's API over its backend, without the HTTP server around it."""

    def __init__(self, name: str, state: Path, host: str, backend: Backend) -> None:
        pool = ipaddress.IPv4Network(f"{host}/24", strict=False)
        self.project = Project(f"khw-{name}", State(state / "state.json"), backend, pool)
        self.project.kinds = KINDS
        self.operations = Operations(self.project)
        self.application = application(Service(self.project, self.operations))

    def reconcile(self) -> None:
        """Make the backend what the state says: the network, no stray machine, and every machine that should run."""
        self.project.apply_network()
        known = {entry.name: entry for entry in self.project.of("instances")}
        backend = self.project.backend
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(backend.delete_machine, [n for n in backend.machines() if n not in known]))
            # What is not ready yet, its insert makes when it is taken up again.
            list(pool.map(self._raise, [entry for entry in known.values() if entry.ready]))
        self.project.apply_network()
        self.project.backend.on_stop(self._ended)
        self.operations.resume()

    def _ended(self, name: str) -> None:
        log.info("%s has shut itself down", name)
        ended_by_itself(self.project, name)

    def _raise(self, entry: Entry) -> None:
        if entry.body["status"] != "RUNNING" or entry.deleting or entry.hidden.get("dead"):
            return
        backend = self.project.backend
        seen = backend.machine_state(entry.name)
        try:
            if seen is MachineState.MISSING:
                backend.create_machine(machine_spec(self.project, entry))
            elif seen is MachineState.STOPPED:
                backend.start_machine(entry.name)
        except LabError:
            log.exception("%s cannot be started again", entry.name)
            with self.project.state.lock:
                entry.body["status"] = "TERMINATED"
                self.project.state.save()

    def close(self) -> None:
        """Let running operations end, and let go of the backend."""
        self.operations.close()
        self.project.backend.close()


@contextlib.contextmanager
def opened(name: str, state: Path, host: str, backend: Backend) -> Iterator[Lab]:
    """Open a lab: reconciled when it is given out, closed at the end."""
    lab = Lab(name, state, host, backend)
    try:
        lab.reconcile()
        yield lab
    finally:
        lab.close()


def _log_to(path: Path) -> None:
    handler = RotatingFileHandler(path, maxBytes=10_000_000, backupCount=1)
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(handlers=[handler], level=logging.INFO, format=form, force=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="khw.lab.daemon", description="The emulated GCP project of a lab.")
    parser.add_argument("--name", required=True, help="the lab's name; its project is khw-NAME")
    parser.add_argument("--state", required=True, type=Path, help="its directory")
    parser.add_argument("--host", required=True, help="its loopback address; external addresses are beside it")
    parser.add_argument("--port", required=True, type=int)
    return parser.parse_args(argv)


def serve(name: str, state: Path, address: tuple[str, int], backend: Backend) -> None:
    """Serve a lab until SIGTERM or Ctrl-C; what runs then comes to its end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # While uvicorn runs it has handlers of its own, and raises the signal again when it has ended.
        signal.signal(number, _end)
    host, port = address
    with opened(name, state, host, backend) as lab:
        config = uvicorn.Config(
            lab.application, host, port, log_config=None, lifespan="off", timeout_graceful_shutdown=HOLD_SECONDS
        )
        log.info("lab %s serves at http://%s:%s", name, host, port)
        LabServer(config, lab.operations).run()


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve a lab on its real machines."""
    from khw.lab.layout import allocate
    from khw.lab.real import RealBackend

    options = _arguments(argv)
    options.state.mkdir(parents=True, exist_ok=True)
    _log_to(options.state / "daemon.log")
    try:
        backend = RealBackend(allocate(options.name))
        serve(options.name, options.state, (options.host, options.port), backend)
    except LabError:
        log.exception("lab %s cannot be served", options.name)
        return LabError.exit_code
    finally:
        log.info("lab %s has ended", options.name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
