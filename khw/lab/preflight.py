"""What this machine must have before a lab can stand on it: each lack named, with what to do about it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from khw.errors import LabError
from khw.lab.command import run

# program → Debian's package
PROGRAMS = {
    "podman": "podman",
    "runc": "runc",
    "haproxy": "haproxy",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "sysctl": "procps",
    "nsenter": "util-linux",
    "apt-get": "apt",
}
PYTHON = (3, 11)
# Each machine's systemd, containerd, kubelet and pods watch files, and the kernel counts them all as root's:
# Debian's 128 instances are used up by two labs. Never lowered, and left as they are when the lab goes.
WATCHES = {"max_user_instances": 8192, "max_user_watches": 524288}
INOTIFY = Path("/proc/sys/fs/inotify")
CGROUPS = Path("/sys/fs/cgroup")


def check() -> None:
    """Raise a LabError that names everything that is missing here, at once."""
    if sys.platform != "linux":
        msg = "the lab needs Linux: its machines are containers with systemd"
        raise LabError(msg, hint="run khw on Linux, or on Google Cloud with khw init --project")
    if os.geteuid() != 0:
        msg = "the lab needs root: it makes machines, a network namespace and links"
        raise LabError(msg, hint="sudo khw lab up")
    if sys.version_info < PYTHON:
        msg = f"the lab needs Python {PYTHON[0]}.{PYTHON[1]} or later; this is {sys.version.split()[0]}"
        raise LabError(msg)
    lacking = missing(PROGRAMS)
    if lacking:
        msg = f"the lab needs {', '.join(sorted(lacking))}"
        packages = sorted({PROGRAMS[program] for program in lacking})
        raise LabError(msg, hint="apt-get install " + " ".join(packages))
    if not os.access(CGROUPS, os.W_OK):
        msg = f"{CGROUPS} cannot be written: no machine could make its cgroups"
        raise LabError(msg, hint="run on the host or in a privileged container")
    if "+NS" not in run(["haproxy", "-vv"]):
        msg = "this haproxy was built without network namespaces"
        raise LabError(msg, hint="use the haproxy package of Debian or Ubuntu")


def raise_limits() -> list[str]:
    """Raise the kernel's limits on file watches where they are lower than labs need; say which were raised."""
    raised = []
    for name, needed in WATCHES.items():
        limit = INOTIFY / name
        if int(limit.read_text()) < needed:
            limit.write_text(str(needed))
            raised.append(f"fs.inotify.{name} raised to {needed}")
    return raised


def missing(programs: dict[str, str]) -> set[str]:
    """Return the programs that are not there; administrators' folders count, whatever PATH says."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return {program for program in programs if shutil.which(program, path=path) is None}
