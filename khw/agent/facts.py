"""What the node is, as it sees itself: what a task may depend on."""

from __future__ import annotations

import os
import time

from khw.agent.software import has_commands

CAP_SYS_RESOURCE = 24
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
    }


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
