"""
Virtual machines of one's own: real kernels, a bastion before them, and an operator who reaches nothing else.

All of it lives in one network namespace, and nothing leaves it. The operator stands at 192.0.2.1 and has a cable to the
bastion; behind that is the machines' network, 10.240.0.0/24, and no packet passes: SSH jumps there, and kubectl takes
the bastion's ssh as a proxy. The bastion is also the machines' mirror of packages.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import vm_image
from commandline import Khw
from vm_image import HOME, USER

from khw.cluster.spec import Timeouts
from khw.lab.command import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OPERATOR, BASTION, GATEWAY = "192.0.2.1", "192.0.2.2", "10.240.0.1"
SHARED = "10.240.0.100"  # nobody's own
BOOT_SECONDS = 120
LOGS = ("qemu.log", "console.log")
NEEDED = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "mmdebstrap": "mmdebstrap"}
EMULATED = {
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-aarch64-static": "qemu-user-static",
    "arch-test": "arch-test",
}
EMULATE = os.environ.get("KHW_TEST_VMS") == "emulated"  # where there is no KVM: ten times slower
KVM = ("-accel", "kvm", "-cpu", "host,-arch-capabilities")  # not every KVM takes those
TCG = ("-accel", "tcg,thread=multi", "-cpu", "max")
QEMU = {
    "amd64": ("qemu-system-x86_64", "-machine", "q35", *(TCG if EMULATE else KVM)),
    "arm64": ("qemu-system-aarch64", "-machine", "virt", "-accel", "tcg,thread=multi", "-cpu", "cortex-a72"),
}
# an emulated machine that has to share its processor sees its disks late, and a login waits for them
PATIENT = "systemd.default_timeout_start_sec=900 systemd.default_device_timeout_sec=900"
CONSOLE = {"amd64": "ttyS0", "arm64": "ttyAMA0"}
SOCKS = 1080  # ssh -D, for kubectl


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine that is wanted: its role is the first part of its name."""

    name: str
    address: str
    pod_cidr: str = ""
    release: str = "debian-12"
    architecture: str = "amd64"
    cpus: int = 2
    memory: int = 2048  # MiB


@dataclass(frozen=True)
class Estate(Khw):
    """khw as somebody types it at 192.0.2.1, and the machines' power buttons."""

    name: str
    patience: float  # seconds for a boot
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def line(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *command]

    def ssh(
        self, machine: str, *command: str, stdin: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Log in to a machine with ssh itself, by the configuration that khw is given too."""
        argv = self.line("ssh", "-F", "ssh_config", "-o", "BatchMode=yes", machine, *command)
        return subprocess.run(
            argv, cwd=self.folder, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )

    def as_root(self, machine: str, command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a line of the shell as root: sudo asks for the password, and gets it."""
        argv = ("sudo", "--stdin", "--prompt=", "sh", "-c", f"'{command}'")
        return self.ssh(machine, *argv, stdin=f"{vm_image.PASSWORD}\n", timeout=timeout)

    def wait_for(self, *machines: str) -> None:
        """Wait until these take a login, and set their clocks, which no time service does."""
        deadline = time.monotonic() + self.patience
        for machine in machines:
            while (done := self.ssh(machine, "true")).returncode:
                said = "\n".join((HOME / self.name / machine / log).read_text()[-2000:] for log in LOGS)
                assert self.running[machine].poll() is None, f"{machine} ended\n{said}"
                assert time.monotonic() < deadline, f"{machine} does not answer: {done.stderr}\n{said}"
                time.sleep(0.5)
            late = time.time() - float(self.ssh(machine, "date", "+%s.%N").stdout)
            self.as_root(machine, f'date --set="{late:+.3f} seconds"')

    def boot_of(self, machine: str) -> str:
        """Which of its boots a machine is in; '' while it takes no login."""
        return self.ssh(machine, "cat", "/proc/sys/kernel/random/boot_id").stdout


@contextmanager
def estate(name: str, folder: Path, *machines: Machine, balancer: str = "own", slowness: float = 1) -> Iterator[Estate]:
    """
    Start machines and their bastion, write khw.yaml and the ssh configuration, and take all of it away again.

    All limits in khw.yaml are `slowness` times their defaults.
    """
    slowness = max(slowness, 10 if EMULATE else 1)
    _require(machines)
    _raze(name)
    said = {"KHW_SUDO_PASSWORD": vm_image.PASSWORD, "HTTPS_PROXY": f"socks5://127.0.0.1:{SOCKS}"}
    try:
        it = Estate(folder, name, BOOT_SECONDS * slowness)
        keys = _keys(folder, ["bastion", *(machine.name for machine in machines)])
        (folder / "ssh_config").write_text(_ssh_config(folder, machines))
        (folder / "known_hosts").write_text(f"{BASTION} {keys['bastion']}\n" + _known(machines, keys))
        file = _cluster(machines, keys, balancer) | _limits(slowness)
        (folder / "khw.yaml").write_text(json.dumps(file))  # JSON is YAML
        _wire(name, machines)
        bastion = Machine(name="bastion", address=BASTION, cpus=1, memory=512)
        for machine in (bastion, *machines):
            it.running[machine.name] = _start(it, machine, machines)
        it.wait_for(*it.running)
        way = ("-f", "-N", "-D", f"127.0.0.1:{SOCKS}", "-o", "ExitOnForwardFailure=yes")
        subprocess.run(it.line("ssh", "-F", f"{folder}/ssh_config", *way, "bastion"), check=True, timeout=30)
        with mock.patch.dict(os.environ, said):
            yield it
    finally:
        _raze(name)


def _require(machines: Sequence[Machine]) -> None:
    emulated = any(machine.architecture == "arm64" for machine in machines)
    needed = NEEDED | (EMULATED if emulated else {})
    missing = [package for program, package in needed.items() if not shutil.which(program)]
    assert not missing, f"virtual machines need {', '.join(missing)}: apt-get install {' '.join(missing)}"
    runs = not emulated or subprocess.run(["arch-test", "arm64"], capture_output=True, check=False).returncode == 0
    assert runs, (
        "the kernel does not run programs of arm64: systemctl restart systemd-binfmt, after installing qemu-user-static"
    )
    kvm = EMULATE or os.access("/dev/kvm", os.R_OK | os.W_OK)
    assert kvm, (
        "there is no /dev/kvm to use: is virtualisation switched on, and the module kvm loaded? "
        "KHW_TEST_VMS=emulated does without, ten times slower"
    )


def _keys(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Make the operator's key, and each machine's; return the public halves of those."""
    for name in ("id", *names):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / f"{name}.key")]
        subprocess.run(command, check=True, timeout=30)
    return {name: (folder / f"{name}.key.pub").read_text().strip() for name in names}


def _ssh_config(folder: Path, machines: Sequence[Machine]) -> str:
    every = f"    User {USER}\n    IdentityFile {folder}/id.key\n    UserKnownHostsFile {folder}/known_hosts\n"
    rows = [f"Host {machine.name}\n    HostName {machine.address}\n    ProxyJump bastion\n" for machine in machines]
    return "".join([f"Host bastion\n    HostName {BASTION}\n", *rows, f"Host *\n{every}"])


def _known(machines: Sequence[Machine], keys: Mapping[str, str]) -> str:
    return "".join(f"{machine.address} {keys[machine.name]}\n" for machine in machines)


def _cluster(machines: Sequence[Machine], keys: Mapping[str, str], balancer: str) -> dict[str, Any]:
    nodes = [
        {
            "name": machine.name,
            "role": machine.name.partition("-")[0],
            "address": machine.address,
            "host": machine.name,
            "host_keys": [keys[machine.name]],
            **({"pod_cidr": machine.pod_cidr} if machine.pod_cidr else {}),
        }
        for machine in machines
    ]
    first = SHARED if balancer == "haproxy" else nodes[0]["address"]
    return {
        "name": "estate",
        "provider": "static",
        "ssh": {"config": "ssh_config", "sudo": "password"},
        "static": {"api_address": first, "balancer": balancer, "nodes": nodes},
    }


def _limits(slowness: float) -> dict[str, Any]:
    return {"timeouts": {name: value * slowness for name, value in Timeouts().model_dump().items()}}


def _wire(name: str, machines: Sequence[Machine]) -> None:
    """Make the namespace: a cable to the bastion, and a switch that it and the machines hang on."""
    run(["ip", "netns", "add", name])
    run(["ip", "netns", "exec", name, "sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1"])
    lines = ["link set lo up", "link add switch type bridge", "link set switch up"]
    for tap in ("outside", "bastion", *(machine.name for machine in machines)):
        lines += [f"tuntap add {tap} mode tap", f"link set {tap} up"]
        lines += [f"link set {tap} master switch"] if tap != "outside" else []
    lines += [f"address add {OPERATOR}/24 dev outside"]
    run(["ip", "-n", name, "-batch", "-"], stdin="\n".join(lines) + "\n")


def _start(it: Estate, machine: Machine, machines: Sequence[Machine]) -> subprocess.Popen[bytes]:
    """Boot a machine from a disk of its own over the image's."""
    image = vm_image.ensure(machine.release, machine.architecture)
    home = HOME / it.name / machine.name
    home.mkdir(parents=True)
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image.root), str(home / "root.qcow2")])
    (home / "seed.tar").write_bytes(vm_image.archive(_seed(it.folder, machine, machines)))
    taps = ("outside", "bastion") if machine.name == "bastion" else (machine.name,)
    command = [
        *(*QEMU[machine.architecture], "-nodefaults", "-display", "none"),
        *("-smp", str(machine.cpus), "-m", str(machine.memory)),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
        *("-append", f"root=/dev/vda rw console={CONSOLE[machine.architecture]} net.ifnames=0 quiet {PATIENT}"),
        *("-drive", f"file={home}/root.qcow2,if=virtio,cache=unsafe"),
        *("-drive", f"file={home}/seed.tar,if=virtio,format=raw,read-only=on"),
        *("-serial", f"file:{home}/console.log", "-device", "virtio-rng-pci"),
    ]
    for n, tap in enumerate(taps):
        command += ["-netdev", f"tap,id=n{n},ifname={tap},script=no,downscript=no"]
        command += ["-device", f"virtio-net-pci,netdev=n{n},mac={_mac(machine.address, n)}"]
    said = (home / "qemu.log").open("wb")
    with said:
        return subprocess.Popen(it.line(*command), stdin=subprocess.DEVNULL, stdout=said, stderr=said)


def _mac(address: str, n: int) -> str:
    return ":".join(f"{byte:02x}" for byte in (0x52, 0x54, n, *map(int, address.split(".")[1:])))


def _seed(folder: Path, machine: Machine, machines: Sequence[Machine]) -> dict[str, tuple[int, str]]:
    """Return the files that make a machine this one."""
    hosts = "".join(f"{each.address} {each.name}\n" for each in machines)
    files = {
        "/etc/hostname": (0o644, f"{machine.name}\n"),
        "/etc/hosts": (0o644, f"127.0.0.1 localhost\n127.0.1.1 {machine.name}\n{hosts}"),
        "/etc/resolv.conf": (0o644, f"nameserver {GATEWAY}\n"),  # nobody answers there
        "/etc/ssh/ssh_host_ed25519_key": (0o600, (folder / f"{machine.name}.key").read_text()),
        "/etc/ssh/ssh_host_ed25519_key.pub": (0o644, (folder / f"{machine.name}.key.pub").read_text()),
        "/etc/apt/sources.list": (0o644, f"deb [trusted=yes] http://{GATEWAY}/ ./\n"),
        f"/home/{USER}/.ssh/authorized_keys": (0o644, (folder / "id.key.pub").read_text()),
    }
    if machine.name == "bastion":
        return {**files, **_interfaces("eth0", BASTION, ""), **_interfaces("eth1", GATEWAY, "")}
    if machine.release == "debian-12":
        return {**files, **_interfaces("eth0", machine.address, f"    gateway {GATEWAY}\n")}
    network = f"[Match]\nName=eth0\n[Network]\nAddress={machine.address}/24\nGateway={GATEWAY}\n"
    return {**files, "/etc/systemd/network/eth0.network": (0o644, network)}


def _interfaces(name: str, address: str, more: str) -> dict[str, tuple[int, str]]:
    text = f"auto {name}\niface {name} inet static\n    address {address}/24\n{more}"
    return {f"/etc/network/interfaces.d/{name}": (0o644, text)}


def _raze(name: str) -> None:
    """End all that is in the namespace, and remove it and the machines' disks."""
    if name in run(["ip", "netns", "list"]).split():
        for pid in run(["ip", "netns", "pids", name]).split():
            os.kill(int(pid), signal.SIGKILL)
        deadline = time.monotonic() + 10
        while run(["ip", "netns", "pids", name]).split():
            assert time.monotonic() < deadline, f"something in the namespace {name} does not end"
            time.sleep(0.05)
        run(["ip", "netns", "del", name])
    shutil.rmtree(HOME / name, ignore_errors=True)
