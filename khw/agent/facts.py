"""What the node is, as it sees itself: what a task may depend on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import time

from khw.agent.software import has_commands

CAP_SYS_RESOURCE = 24
SIOCGIFADDR = 0x8915
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
CONNTRACK = "/proc/sys/net/netfilter/nf_conntrack_max"


def facts() -> dict[str, object]:
    """Return the fields of `khw.cluster.model.Facts`."""
    system = os.uname()
    release = _os_release()
    return {
        "architecture": ARCHITECTURES.get(system.machine, system.machine),
        "distribution": release.get("ID", ""),
        "release": release.get("VERSION_ID", ""),
        "kernel": system.release,
        "cgroup": 2 if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else 1,
        "can_lower_oom_score": _bounded(CAP_SYS_RESOURCE),
        "can_set_conntrack": _can_set_conntrack(),
        "zstd": has_commands("zstd"),
        "clock": time.time(),
        "swap": len(_lines("/proc/swaps")) > 1,
        "container": os.path.exists("/run/systemd/container"),
        "interfaces": _interfaces(),
    }


def _interfaces() -> list[tuple[str, str]]:
    """Return name and first IPv4 address of each interface that has one."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(asked, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found.append((name, socket.inet_ntoa(answer[20:24])))
    return found


def _os_release() -> dict[str, str]:
    pairs = (line.partition("=") for line in _lines("/etc/os-release"))
    return {key: value.strip("\"'") for key, _, value in pairs}


def _bounded(capability: int) -> bool:
    """Whether a service may have this capability: the bounding set of process 1."""
    for line in _lines("/proc/1/status"):
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return True


def _can_set_conntrack() -> bool:
    """Whether the limit could be written; opening it for writing tells, nothing is written."""
    try:
        os.close(os.open(CONNTRACK, os.O_WRONLY))
    except FileNotFoundError:  # the module is not loaded yet; in a container it never is ours to set
        return not os.path.exists("/run/systemd/container")
    except OSError:
        return False
    return True


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.read().splitlines()
    except OSError:
        return []
