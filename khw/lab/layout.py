"""Where the parts of a lab live: its directory, its names and its block of loopback addresses."""

from __future__ import annotations

import fcntl
import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from khw.errors import LabError
from khw.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_BLOCK = 240  # 127.240.0.0/24 belongs to the lab called "default"
LAST_BLOCK = 254
API_PORT = 8471
LABEL = "khw.lab"  # on containers and volumes, so that they are found whatever they are called
NAME = re.compile(r"[a-z]([-a-z0-9]{0,20}[a-z0-9])?")


def home() -> Path:
    """Return the directory that holds all labs of this machine."""
    return Path(os.environ.get("KHW_LAB_HOME", "/var/lib/khw/labs"))


@dataclass(frozen=True, slots=True)
class Layout:
    """The names and places of one lab."""

    name: str
    octet: int  # 127.OCTET.0.0/24 is its own

    @property
    def directory(self) -> Path:
        """Its state: what the API keeps, the machines' metadata, rendered configuration, logs."""
        return home() / self.name

    @property
    def machines(self) -> Path:
        """One directory for each machine."""
        return self.directory / "machines"

    @property
    def project(self) -> str:
        """The GCP project that it emulates."""
        return f"khw-{self.name}"

    @property
    def netns(self) -> str:
        """The network namespace that is its router."""
        return f"khw-{self.name}"

    @property
    def block(self) -> str:
        """Its external addresses."""
        return f"127.{self.octet}.0.0/24"

    @property
    def api_address(self) -> str:
        """Where its API listens."""
        return f"127.{self.octet}.0.2"

    @property
    def endpoint(self) -> str:
        """Its Compute Engine API."""
        return f"http://{self.api_address}:{API_PORT}"

    def container(self, machine: str) -> str:
        """Return the name of a machine's container and of its volume."""
        return f"khw-{self.name}.{machine}"


def check_name(name: str) -> None:
    """Refuse a name that cannot be part of a host name, a path and a namespace."""
    if not NAME.fullmatch(name):
        msg = f"{name!r} cannot name a lab"
        raise LabError(msg, hint="up to 22 lower-case letters, digits and dashes, starting with a letter")


def find(name: str) -> Layout | None:
    """Return the lab of this name, if it was ever allocated and not taken down."""
    check_name(name)
    file = home() / name / "lab.json"
    if not file.exists():
        return None
    return Layout(name, int(json.loads(file.read_text())["octet"]))


def every() -> tuple[Layout, ...]:
    """Return all labs of this machine, by name."""
    found = (find(file.parent.name) for file in sorted(home().glob("*/lab.json")))
    return tuple(layout for layout in found if layout)


def allocate(name: str) -> Layout:
    """Return the lab of this name, with a block of its own; two at once never get the same one."""
    check_name(name)
    with exclusively("allocation"):
        if known := find(name):
            return known
        taken = {layout.octet for layout in every()}
        first = FIRST_BLOCK if name == "default" else FIRST_BLOCK + 1
        free = next((octet for octet in range(first, LAST_BLOCK + 1) if octet not in taken), None)
        if free is None:
            msg = f"no loopback block is free for lab {name!r}: {len(taken)} labs stand"
            raise LabError(msg, hint="khw lab down one of: " + ", ".join(lab.name for lab in every()))
        layout = Layout(name, free)
        layout.directory.mkdir(parents=True, exist_ok=True)
        write_atomically(layout.directory / "lab.json", json.dumps({"octet": free}).encode())
        return layout


@contextmanager
def exclusively(what: str) -> Iterator[None]:
    """Hold this machine's lock on `what` (allocation, or the build of an image)."""
    home().mkdir(parents=True, exist_ok=True)
    with (home() / f".{what}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
