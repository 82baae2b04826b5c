"""Labs as the command line knows them: up, down, status, and a way onto a machine."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from khw.errors import LabError
from khw.files import write_atomically, write_private
from khw.lab import image, layout, machines, preflight
from khw.lab.balancer import Balancer
from khw.lab.command import processes
from khw.lab.layout import API_PORT, Layout, exclusively
from khw.lab.machines import KEY_TYPES, LAB_USER, Machine
from khw.lab.names import Names
from khw.lab.network import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

START_SECONDS = 90
END_SECONDS = 30
POLL = 0.05


@dataclass(frozen=True, slots=True)
class LabInfo:
    """How a lab is reached: what khw.yaml says of its project."""

    name: str
    project: str
    endpoint: str
    region: str = "us-west1"
    zone: str = "us-west1-c"


@dataclass(frozen=True, slots=True)
class MachineStatus:
    """A machine of a lab."""

    name: str
    running: bool
    internal_ip: str
    external_ip: str | None


@dataclass(frozen=True, slots=True)
class LabStatus:
    """The parts of a lab: whether each is there."""

    name: str
    project: str
    endpoint: str
    api: bool
    router: bool
    balancer: bool
    resolver: bool
    machines: tuple[MachineStatus, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for -o json and yaml."""
        return asdict(self)


def project_of(name: str = "default") -> str:
    """Return a lab's project, up or not."""
    return _known(name).project


def endpoint_of(name: str = "default") -> str:
    """Return a lab's endpoint; LabError if it never was up and its block is not decided yet."""
    return _known(name).endpoint


def names() -> tuple[str, ...]:
    """Return the names of this machine's labs."""
    return tuple(lab.name for lab in layout.every())


def up(name: str = "default", progress: Callable[[str], None] = lambda _: None) -> LabInfo:
    """Bring a lab up: its image, its network, its API. Nothing happens if it is up."""
    preflight.check()
    layout.check_name(name)
    for line in preflight.raise_limits():
        progress(line)
    image.ensure(progress=progress)
    with exclusively("labs"):
        lab = layout.allocate(name)
        _make_key(lab)
        Router(lab).ensure()
        if not _stands(lab):
            progress(f"starting the API of lab {name}")
            _start_daemon(lab)
    return LabInfo(name, lab.project, lab.endpoint)


def down(name: str = "default") -> None:
    """Take a lab down with everything in it: again and again, and also one that is only half there."""
    layout.check_name(name)
    if os.geteuid() != 0:
        msg = "the lab needs root: its machines and its network are root's"
        raise LabError(msg, hint="sudo khw lab down")
    with exclusively("labs"):
        lab = layout.find(name) or Layout(name, layout.FIRST_BLOCK)
        _end(_daemons(lab))
        if not preflight.missing({"podman": "podman"}):
            machines.remove_all(lab)
        Balancer(lab).end()
        Names(lab).end()
        Router(lab).remove()
        if lab.directory.exists():
            shutil.rmtree(lab.directory)


def status(name: str = "default") -> LabStatus:
    """Return what is there of a lab."""
    lab = _known(name)
    rows = []
    for machine in machines.every(lab):
        plug = machine.plug
        rows.append(MachineStatus(machine.name, machine.pid is not None, plug.internal_ip, plug.external_ip))
    return LabStatus(
        name=name,
        project=lab.project,
        endpoint=lab.endpoint,
        api=_answers(lab),
        router=Router(lab).exists,
        balancer=Balancer(lab).runs,
        resolver=Names(lab).runs,
        machines=tuple(rows),
    )


def print_status(state: LabStatus) -> None:
    """Print a lab's status for a person."""
    lines = [f"lab {state.name}: project {state.project} at {state.endpoint}"]
    parts = ("api", "router", "balancer", "resolver")
    lines += [f"  {part:<10}{'up' if getattr(state, part) else 'down'}" for part in parts]
    if state.machines:
        lines.append(f"  {'NAME':<20}{'STATUS':<12}{'INTERNAL_IP':<16}EXTERNAL_IP")
    for machine in state.machines:
        word = "RUNNING" if machine.running else "TERMINATED"
        lines.append(f"  {machine.name:<20}{word:<12}{machine.internal_ip:<16}{machine.external_ip or ''}".rstrip())
    sys.stdout.write("\n".join(lines) + "\n")


def ssh_command(name: str, node: str, command: Sequence[str] = ()) -> list[str]:
    """Return the ssh command that logs in to a machine with the lab's own key, its host key known beforehand."""
    lab = _known(name)
    if preflight.missing({"ssh": "openssh-client"}):
        msg = "there is no ssh here"
        raise LabError(msg, hint="apt-get install openssh-client")
    if not os.access(_key(lab), os.R_OK):
        msg = f"the key of lab {name} is root's"
        raise LabError(msg, hint="sudo khw lab ssh, or khw ssh with the cluster's own key")
    machine = Machine(lab, node)
    if not machine.exists:
        there = ", ".join(m.name for m in machines.every(lab)) or "no machines yet"
        msg = f"lab {name} has no machine {node!r}"
        raise LabError(msg, hint=f"it has {there}")
    address, keys = machine.plug.external_ip, machine.published
    if not keys or machine.pid is None:
        msg = f"{node} is not up"
        raise LabError(msg, hint="khw lab status; start the instance, or wait until it has booted")
    known = lab.directory / "known_hosts"
    lines = [f"{m.name} {kind} {m.published[f'hostkeys/{kind}']}" for m in machines.every(lab) for kind in _kinds(m)]
    write_atomically(known, ("\n".join(lines) + "\n").encode())
    options = {
        "IdentityFile": str(_key(lab)),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": str(known),
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": node,
        "LogLevel": "ERROR",
    }
    if not address:
        address = machine.plug.internal_ip
        options["ProxyCommand"] = shlex.join(_through(lab, node, options))
    return ["ssh", *_flags(options), f"{LAB_USER}@{address}", *command]


def _flags(options: Mapping[str, str]) -> list[str]:
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def _through(lab: Layout, node: str, options: Mapping[str, str]) -> list[str]:
    """Return the ssh command that leads to a machine without an external address: through one that has one."""
    doors = [each for each in machines.every(lab) if each.plug.external_ip and each.pid and each.published]
    if not doors:
        msg = f"{node} has no external address, and no machine of lab {lab.name} that runs has one"
        raise LabError(msg, hint="khw lab status")
    door = min(doors, key=lambda each: (not each.name.endswith("-bastion"), each.name))
    way = _flags({**options, "HostKeyAlias": door.name})
    return ["ssh", *way, "-W", "%h:%p", f"{LAB_USER}@{door.plug.external_ip}"]


def _kinds(machine: Machine) -> list[str]:
    return [kind for kind in KEY_TYPES.values() if f"hostkeys/{kind}" in machine.published]


def _known(name: str) -> Layout:
    lab = layout.find(name)
    if lab:
        return lab
    if name == "default":  # its block is decided from the start
        return Layout(name, layout.FIRST_BLOCK)
    msg = f"there is no lab {name!r}"
    raise LabError(msg, hint=f"khw lab up --name {name}; there is: {', '.join(names()) or 'none'}")


def _key(lab: Layout) -> Path:
    return lab.directory / "ssh_key"


def _make_key(lab: Layout) -> None:
    """Make the key for `khw lab ssh`; each machine of the lab has a user for it."""
    if (lab.directory / "ssh_key.pub").exists():
        return
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    write_private(_key(lab), private)
    write_atomically(lab.directory / "ssh_key.pub", public + b"\n")


def _answers(lab: Layout) -> bool:
    url = f"{lab.endpoint}/compute/v1/projects/{lab.project}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback: no proxy has a say
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(json.load(answer).get("name") == lab.project)
    except (OSError, ValueError):
        return False


def _stands(lab: Layout) -> bool:
    """Whether every part is there; a daemon that starts makes again what is not."""
    return _answers(lab) and Balancer(lab).runs and Names(lab).runs


def _start_daemon(lab: Layout) -> None:
    _end(_daemons(lab))  # one that does not answer is of no use
    out = lab.directory / "daemon.out"
    program = [sys.executable, "-m", "khw.lab.daemon", "--name", lab.name, "--state", str(lab.directory)]
    with out.open("wb") as file:
        process = subprocess.Popen(
            [*program, "--host", lab.api_address, "--port", str(API_PORT)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            cwd=lab.directory,
        )
    limit = time.monotonic() + START_SECONDS
    while not _answers(lab):
        if process.poll() is not None or time.monotonic() > limit:
            _end([process.pid])
            msg = f"the API of lab {lab.name} did not start at {lab.endpoint}: {_last_words(lab)}"
            raise LabError(msg, hint=f"all of it is in {lab.directory}/daemon.log")
        time.sleep(POLL)
    process.returncode = 0  # it goes on without us: Popen is not to warn of it


def _last_words(lab: Layout) -> str:
    for name in ("daemon.out", "daemon.log"):
        file = lab.directory / name
        text = file.read_text(errors="replace").strip() if file.exists() else ""
        if text:
            return text[-500:]
    return "it said nothing"


def _daemons(lab: Layout) -> list[int]:
    return processes("khw.lab.daemon", str(lab.directory))


def _end(pids: Sequence[int]) -> None:
    """End processes: asked first, then made to."""
    for kind, seconds in ((signal.SIGTERM, END_SECONDS), (signal.SIGKILL, 5)):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kind)
        limit = time.monotonic() + seconds
        while any(_alive(pid) for pid in pids) and time.monotonic() < limit:
            time.sleep(POLL)


def _alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
