"""
The machines of a lab: systemd containers that behave like instances of Compute Engine.

A machine's disk is its container's root filesystem and one volume at /var/lib (containerd needs a filesystem that is
no overlay); both stay over stop, start and reset. What it knows of itself it reads from a directory that is mounted
at /etc/khw-lab, where it also publishes its host keys.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from khw.errors import LabError
from khw.files import write_atomically
from khw.lab import guest, names
from khw.lab.command import run
from khw.lab.layout import LABEL
from khw.lab.network import Plug

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from khw.lab.layout import Layout

MOST_PROCESSES = 32768
STOP_SECONDS = 20
REBOOTED = 129  # the exit status of a first process that asked for a reboot (SIGHUP, as the kernel says it)
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
LAB_USER = "lab"  # whom `khw lab ssh` logs in as
KEY_TYPES = {"ed25519": "ssh-ed25519", "ecdsa": "ecdsa-sha2-nistp256"}


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of a lab, there or not."""

    layout: Layout
    name: str

    @property
    def directory(self) -> Path:
        """What the host keeps for it."""
        return self.layout.machines / self.name

    @property
    def _container(self) -> str:
        return self.layout.container(self.name)

    @property
    def _metadata(self) -> Path:
        return self.directory / "metadata"

    @property
    def _console(self) -> Path:
        return self.directory / "console.log"

    @property
    def exists(self) -> bool:
        """Whether it was created and not deleted."""
        return (self.directory / "plug.json").exists()

    @property
    def plug(self) -> Plug:
        """How it is on the network."""
        return Plug(**json.loads((self.directory / "plug.json").read_text()))

    @property
    def pid(self) -> int | None:
        """Its first process, as the host numbers it; None if it does not run."""
        try:
            pid = int((self.directory / "pid").read_text())
            state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            keeper = Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            return None
        # Numbers come round again: it is ours only while podman's conmon for this container is its parent.
        # One that has ended (Z, X) may wait a moment for conmon to take its exit status.
        return pid if self._container.encode() in keeper and state not in "ZX" else None

    def create(self, image: str, plug: Plug, project: str) -> None:
        """Make and start it; it runs, and boots."""
        (self._metadata / "published").mkdir(parents=True, exist_ok=True)
        own = names.machine_hosts(self.name, plug.internal_ip, project)
        (self._metadata / "hosts").write_text(own)
        (self._metadata / "resolv.conf").write_text(names.machine_resolver(project))
        run(self._run_command(image), timeout=180)
        write_atomically(self.directory / "plug.json", json.dumps(asdict(plug)).encode())

    def _run_command(self, image: str) -> list[str]:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        most = min(processes, MOST_PROCESSES) if processes > 0 else MOST_PROCESSES
        return [
            *("podman", "run", "--detach", "--tty", "--name", self._container, "--hostname", self.name),
            *("--label", f"{LABEL}={self.layout.name}", "--pull", "never"),
            *("--runtime", "runc", "--privileged", "--cgroupns=private", "--systemd=false"),
            *("--env", "container=podman", "--env", "TERM=dumb", "--stop-signal=SIGRTMIN+3"),
            *("--stop-timeout", "0"),  # to remove one is to end it at once; stop says its own time
            *("--network", "none", "--no-hosts"),
            *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"),  # noqa: S108 - in the machine
            *("--volume", f"{self._volume()}:/var/lib"),
            *("--volume", f"{self._metadata}:{guest.MOUNT}"),
            *("--ulimit", f"nofile={files}:{files}", "--ulimit", f"nproc={most}:{most}"),
            *("--pidfile", str(self.directory / "pid")),
            *("--log-driver", "k8s-file", "--log-opt", f"path={self._console}"),
            *("--log-opt", "max-size=8mb"),
            *(image, "/sbin/init"),
        ]

    def _volume(self) -> str:
        run(["podman", "volume", "create", "--label", f"{LABEL}={self.layout.name}", self._container])
        return self._container

    def start(self) -> None:
        """Start it again, with the disk that it had."""
        if self._console.exists():
            self._console.write_bytes(b"")
        run(["podman", "start", self._container], timeout=180)

    def stop(self) -> None:
        """Shut it down, politely at first."""
        run(["podman", "stop", "--time", str(STOP_SECONDS), self._container], timeout=180)

    def cut_power(self) -> None:
        """End it at once."""
        run(["podman", "stop", "--time", "0", self._container], timeout=180)

    def delete(self) -> None:
        """End it and remove its disk and all that the host keeps for it."""
        run(["podman", "rm", "--force", "--ignore", "--volumes", self._container], timeout=180)
        run(["podman", "volume", "rm", "--force", self._container], allow_failure=True)
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def asked_to_reboot(self) -> bool:
        """Whether it ended because somebody on it said `reboot`; podman takes a moment to know."""
        code = run(["podman", "wait", self._container], allow_failure=True)
        return code.strip() == str(REBOOTED)

    def set_metadata(self, metadata: Mapping[str, str]) -> None:
        """Take over its ssh-keys: at once if it runs and has booted, else when it boots."""
        self.layout.machines.mkdir(parents=True, exist_ok=True)
        self._metadata.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{user}:{key}\n" for user, key in ssh_keys(metadata.get("ssh-keys", "")))
        own = self.layout.directory / "ssh_key.pub"
        if own.exists():
            lines += f"{LAB_USER}:{own.read_text().strip()}\n"
        file = self._metadata / "ssh-keys"
        if file.exists() and file.read_text() == lines:
            return
        write_atomically(file, lines.encode())
        pid = self.pid
        if pid and self.published:
            run(["nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", guest.GUEST])

    @property
    def published(self) -> Mapping[str, str]:
        """The guest attributes that it has published: its host keys."""
        found = {}
        for kind, label in KEY_TYPES.items():
            file = self._metadata / "published" / kind
            words = file.read_text().split() if file.exists() else []
            if len(words) >= 2:
                found[f"hostkeys/{label}"] = words[1]
        return found

    def console(self) -> bytes:
        """Return what its console said since it was last started."""
        try:
            return read_console(self._console.read_bytes())
        except FileNotFoundError:
            return b""


def ssh_keys(text: str) -> Iterator[tuple[str, str]]:
    """Return (user, key) of each line of Google's ssh-keys metadata; a line that is no such thing is left out."""
    for line in text.splitlines():
        user, colon, key = line.strip().partition(":")
        if colon and USER.fullmatch(user) and key.strip():
            yield user, key.strip()


def read_console(log: bytes) -> bytes:
    """Return the text of a log as conmon writes it: 'TIME STREAM F|P TEXT' a line, P for a line to be continued."""
    text = []
    for line in log.split(b"\n"):
        words = line.split(b" ", 3)
        if len(words) == 4:
            text.append(words[3] + (b"" if words[2] == b"P" else b"\n"))
    return b"".join(text)


def every(layout: Layout) -> tuple[Machine, ...]:
    """Return the machines of a lab that exist, by name."""
    found = (Machine(layout, path.name) for path in sorted(layout.machines.glob("*")))
    return tuple(machine for machine in found if machine.exists)


def remove_all(layout: Layout) -> None:
    """Remove every container and volume of a lab, those of a lab that was only half made too."""
    mark = ["--filter", f"label={LABEL}={layout.name}"]
    containers = run(["podman", "ps", "--all", "--quiet", *mark]).split()
    if containers:
        run(["podman", "rm", "--force", "--volumes", *containers], timeout=300)
    volumes = run(["podman", "volume", "ls", "--quiet", *mark]).split()
    if volumes:
        run(["podman", "volume", "rm", "--force", *volumes], timeout=120)
    left = run(["podman", "ps", "--all", "--quiet", *mark]).split()
    if left:
        msg = f"lab {layout.name} still has containers: {', '.join(left)}"
        raise LabError(msg, hint="podman ps --all; then khw lab down again")
