"""
What goes wrong with machines, networks, disks and the cloud: how each fault strikes a lab, and how it passes.

A fault strikes from below (the machine's container, the lab's router, the API), never by a way that khw uses. What is
only simulated says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from commandline import LAB

from khw.lab import firewall, layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commandline import Khw

CONTROLLERS = ("controller-0", "controller-1", "controller-2")
WORKERS = ("worker-0", "worker-1", "worker-2")
FREEZE = 60.0  # seconds
AWAY = r"the connection was lost|no sign of life|does not answer over SSH|the agent (did not start|ended)"


def podman(*args: str, check: bool = True) -> str:
    return subprocess.run(["podman", *args], check=check, capture_output=True, timeout=120, text=True).stdout


def container(node: str) -> str:
    lab = layout.find(LAB)
    assert lab
    return lab.container(node)


def inside(node: str, script: str, *, check: bool = True) -> None:
    """Run a script on a machine from below, as its root."""
    podman("exec", container(node), "sh", "-c", script, check=check)


def booted(node: str) -> str:
    """Return when a machine's systemd began, as it says itself; '' while there is none."""
    show = ("systemctl", "show", "--property=UserspaceTimestampMonotonic", "--value")
    return podman("exec", container(node), *show, check=False).strip()


class Fault:
    """
    A fault: it strikes, and it is over once it was lifted (by a person, or by itself after a time).

    `says` is what an error has to say, if there is one; `begins` the progress line of a run at which it strikes. One
    that shows only where something is to be done `meets_work`, also after a run.
    """

    says = "never"
    begins = "controller-1 encryption"
    meets_work = False

    @contextmanager
    def arranged(self, khw: Khw) -> Iterator[None]:
        """Prepare what the fault needs, and take it away again, whatever happened."""
        assert khw.folder.exists()
        yield

    def strike(self, khw: Khw) -> None:
        raise NotImplementedError

    def lift(self, khw: Khw) -> None:
        """End it, where it does not pass by itself."""


class SshCut(Fault):
    """Every SSH connection to every machine is broken at once."""

    says = AWAY

    def strike(self, khw: Khw) -> None:
        for node in (*CONTROLLERS, *WORKERS):
            inside(node, "pkill -KILL -f '^sshd.*: khw'", check=False)  # in the machine: its processes alone


@dataclass
class Reboot(Fault):
    """Machines reboot, as `reboot` on them does it."""

    nodes: tuple[str, ...]
    says = AWAY
    _boots: dict[str, str] = field(default_factory=dict)

    def strike(self, khw: Khw) -> None:
        self._boots = {node: booted(node) for node in self.nodes}
        for node in self.nodes:
            inside(node, "systemctl reboot", check=False)

    def lift(self, khw: Khw) -> None:
        """Wait until they are up again: one that goes down lets people in for a moment yet, and starts nothing."""
        deadline = time.monotonic() + 60
        while any(booted(node) in {"", boot} for node, boot in self._boots.items()):
            assert time.monotonic() < deadline, f"not back: {', '.join(self._boots)}"
            time.sleep(0.2)


@dataclass
class Frozen(Fault):
    """A machine stands still for a while: none of its processes runs, none of its connections closes."""

    node: str
    seconds: float = FREEZE
    says = AWAY
    _thaw: threading.Timer | None = None

    def strike(self, khw: Khw) -> None:
        podman("pause", container(self.node))
        self._thaw = threading.Timer(self.seconds, podman, ("unpause", container(self.node)))
        self._thaw.start()

    def lift(self, khw: Khw) -> None:
        assert self._thaw
        self._thaw.join()

    @contextmanager
    def arranged(self, khw: Khw) -> Iterator[None]:
        yield
        if self._thaw:
            self._thaw.cancel()
        podman("unpause", container(self.node), check=False)


@dataclass
class Partition(Fault):
    """A machine is cut off: the router drops all that comes from it or goes to it."""

    node: str
    says = AWAY

    def strike(self, khw: Khw) -> None:
        device = firewall.interface(self.node)
        rules = "".join(
            f"add chain ip khw-fault {hook} {{ type filter hook {hook} priority -10; }}\n"
            + "".join(f'add rule ip khw-fault {hook} {way} "{device}" drop\n' for way in ways)
            for hook, ways in (("forward", ("iifname", "oifname")), ("input", ("iifname",)), ("output", ("oifname",)))
        )
        self._router("nft", "-f", "-", stdin=f"add table ip khw-fault\n{rules}")

    def lift(self, khw: Khw) -> None:
        self._router("nft", "delete", "table", "ip", "khw-fault", check=False)

    @contextmanager
    def arranged(self, khw: Khw) -> Iterator[None]:
        try:
            yield
        finally:
            self.lift(khw)

    @staticmethod
    def _router(*command: str, stdin: str = "", check: bool = True) -> None:
        lab = layout.find(LAB)
        assert lab
        enter = ["ip", "netns", "exec", lab.netns, *command]
        subprocess.run(enter, input=stdin, text=True, check=check, capture_output=True, timeout=30)


@dataclass
class DiskFull(Fault):
    """
    A machine's disk takes no byte more. Simulated: a filesystem of its own where binaries go, filled to the brim.

    The machines' disks are the host's, which a test does not fill.
    """

    node: str
    says = r"the disk of the node is full"
    begins = "worker-1 certificates"
    meets_work = True
    place = "/usr/local/bin"
    real = "/run/khw-real"  # the same directory of the machine's own disk

    @contextmanager
    def arranged(self, khw: Khw) -> Iterator[None]:
        own = f"mkdir -p {self.real} && mount --bind {self.place} {self.real} && mount -t tmpfs own {self.place}"
        size = f"$(($(du -sk {self.place} | cut -f1) + 4096))k"
        inside(self.node, f"{own} && cp -a {self.real}/. {self.place}/ && mount -o remount,size={size} {self.place}")
        try:
            yield
        finally:
            self.lift(khw)
            back = f"cp -au --remove-destination {self.place}/. {self.real}/"
            inside(self.node, f"{back}; umount -l {self.place} {self.real}; rmdir {self.real}")

    def strike(self, khw: Khw) -> None:
        inside(self.node, f"! head -c 1G /dev/zero >{self.place}/filler 2>/dev/null")

    def lift(self, khw: Khw) -> None:
        inside(self.node, f"rm -f {self.place}/filler")


@dataclass
class DataLost(Fault):
    """One etcd member's data are gone, and it was started again."""

    node: str
    says = r"etcd"

    def strike(self, khw: Khw) -> None:
        inside(self.node, "systemctl stop etcd; rm -rf /var/lib/etcd/member; systemctl start --no-block etcd")


@dataclass
class Skew(Fault):
    """
    A machine's clock is ten minutes ahead. Simulated: for what khw asks there (its agent, `date`).

    The kernel has one clock for all machines of a lab, so that etcd and Kubernetes go on with the right time.
    """

    node: str
    says = r"its clock is \+(599|600|601) s off ours|60\d\.\d s ahead"
    places = ("/usr/local/bin/python3", "/usr/local/bin/date")

    def strike(self, khw: Khw) -> None:
        ahead = "import time; khw_now = time.time; time.time = lambda: khw_now() + 600"
        python = f'#!/bin/sh\\nagent=$5; shift 5\\nexec /usr/bin/python3 -I -S -B -c "{ahead}\\n$agent" "$@"\\n'
        date = "#!/bin/sh\\nexec /usr/bin/date -d '+10 minutes' \"$@\"\\n"
        for place, text in zip(self.places, (python, date), strict=True):
            inside(
                self.node,
                f"printf '%b' '{text.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}' >{place}; chmod 755 {place}",
            )

    def lift(self, khw: Khw) -> None:
        inside(self.node, f"rm -f {' '.join(self.places)}")

    @contextmanager
    def arranged(self, khw: Khw) -> Iterator[None]:
        try:
            yield
        finally:
            self.lift(khw)


class OperatorDiskFull(Fault):
    """The workspace's disk takes no byte more: a small filesystem of its own, filled to the brim."""

    says = r"No space left on device"
    begins = "controller-1 certificates"

    @contextmanager
    def arranged(self, khw: Khw) -> Iterator[None]:
        """Put the workspace on a tmpfs, kubectl (62 MB) and journals aside; what it is then is put back afterwards."""
        root, aside = khw.folder / ".khw", khw.folder / "khw-aside"
        less_kubectl = shutil.ignore_patterns("bin", "runs")
        root.rename(aside)
        root.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "khw", str(root)], check=True)
        try:
            shutil.copytree(aside, root, ignore=less_kubectl, dirs_exist_ok=True)
            for tools in aside.glob("*/bin"):
                (root / tools.parent.name / "bin").symlink_to(tools)
            yield
            self.lift(khw)
            shutil.copytree(root, aside, ignore=shutil.ignore_patterns("bin"), dirs_exist_ok=True)
        finally:
            subprocess.run(["umount", "-l", str(root)], check=True)
            root.rmdir()
            aside.rename(root)

    def strike(self, khw: Khw) -> None:
        file = os.open(self._filler(khw), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            for size in (1 << 20, 4096):
                try:
                    while os.write(file, b"\0" * size):
                        pass
                except OSError:
                    continue
        finally:
            os.close(file)

    def lift(self, khw: Khw) -> None:
        self._filler(khw).unlink(missing_ok=True)

    @staticmethod
    def _filler(khw: Khw) -> Path:
        return khw.folder / ".khw" / "filler"


@dataclass
class CloudFails(Fault):
    """The cloud's API fails in these ways, each so often (0: until it is lifted)."""

    faults: dict[str, int]
    seconds: dict[str, float] = field(default_factory=dict)
    says = r"the API failed|asks more of the API|did not answer in time|breaks off"
    begins = "operator prerequisites"

    def strike(self, khw: Khw) -> None:
        for sort, times in self.faults.items():
            seconds = [f"--seconds={self.seconds[sort]}"] if sort in self.seconds else []
            khw.ok("lab", "fault", "add", "--name", LAB, sort, f"--times={times}", *seconds)

    def lift(self, khw: Khw) -> None:
        khw.ok("lab", "fault", "clear", "--name", LAB)

    @contextmanager
    def arranged(self, khw: Khw) -> Iterator[None]:
        try:
            yield
        finally:
            self.lift(khw)


FAULTS: dict[str, Fault] = {
    "SSH connections cut": SshCut(),
    "a worker rebooted": Reboot(("worker-1",)),
    "a controller rebooted": Reboot(("controller-1",)),
    "a worker frozen for 60 s": Frozen("worker-1"),
    "a controller frozen for 60 s": Frozen("controller-1"),
    "a controller cut off": Partition("controller-1"),
    "a node's disk full": DiskFull("worker-1"),
    "an etcd member's data lost": DataLost("controller-1"),
    "a clock ten minutes ahead": Skew("controller-1"),
    "the operator's disk full": OperatorDiskFull(),
    "the cloud answers 429": CloudFails({"rate-limit": 10, "rate-limit-403": 3}),
    "the cloud answers 500": CloudFails({"internal": 3, "unavailable": 3, "bad-gateway": 2}),
    "the cloud does not answer": CloudFails({"silence": 2, "lost-answer": 2}, {"silence": 2.0}),
    "the cloud answers 500 and does not get well": CloudFails({"internal": 0}),
}
