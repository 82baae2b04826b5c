"""
Through a bastion: a socket whose far end is the node's SSH port, by way of the user's own `ssh -W`.

The user's ssh logs in to the user's bastion with the user's keys, agent, configuration and known_hosts, and asks
nothing (BatchMode): a bastion that was never met is an error, not a question that nobody sees. A bastion that khw made
is logged in to with khw's key alone, and only if it has the host keys that its provider published. What goes through is
the node's SSH connection, end to end: the bastion sees none of it. paramiko's own ProxyCommand reads pipes byte by
byte; this is a socket.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LAST_WORDS = 400  # characters of what ssh said


@dataclass(frozen=True, slots=True)
class Jump:
    """
    The way: `hops` as `ssh -J` takes it, and the user's configuration ('': ssh's own default).

    A bastion that khw made has khw's private `key` and the file of `known_hosts` instead, and nothing is the user's.
    """

    hops: str
    config: str = ""
    key: str = ""
    known_hosts: str = ""

    @property
    def hint(self) -> str:
        """What to look at when it leads nowhere."""
        if self.key:
            return "is the bastion up, and does the firewall (network.source_ranges) let you in to it?"
        return "your own ssh logs in there: does `ssh BASTION true` work, without a question?"

    @property
    def _own(self) -> tuple[str, ...]:
        """Return the options that keep the user's keys, configuration and known_hosts out of it."""
        options = (
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={self.known_hosts}",
            "GlobalKnownHostsFile=none",
            "LogLevel=ERROR",
        )
        return ("-F", "none", "-i", self.key, *(word for option in options for word in ("-o", option)))

    def options(self, host: str, port: int, patience: float) -> list[str]:
        """Return the options of an ssh command line that leads to a node this way."""
        if self.key:
            return ["-o", f"ProxyCommand={shlex.join(self.command(host, port, patience)).replace('%', '%%')}"]
        return [*(("-F", self.config) if self.config else ()), "-J", self.hops]

    def command(self, host: str, port: int, patience: float) -> list[str]:
        """Return the ssh command whose input and output are the node's port."""
        *first, last = (hop.strip() for hop in self.hops.split(","))
        target, _, bastion_port = last.removeprefix("ssh://").partition(":")
        limit = f"ConnectTimeout={max(1, round(patience))}"
        options = ("BatchMode=yes", limit, "ServerAliveInterval=5", "ServerAliveCountMax=3", "ClearAllForwardings=yes")
        return [
            "ssh",
            *(self._own if self.key else ("-F", self.config) if self.config else ()),
            *(word for option in options for word in ("-o", option)),
            *(("-J", ",".join(first)) if first else ()),
            *(("-p", bastion_port) if bastion_port else ()),
            "-W",
            f"{host}:{port}",
            target,
        ]

    def open(self, host: str, port: int, patience: float) -> Passage:
        """Begin to connect; what keeps it from ending well is in the passage's last words."""
        return Passage(self.command(host, port, patience))


class Passage:
    """A socket through a process, which ends when the socket is closed."""

    def __init__(self, command: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        self._said = b""
        with theirs:
            end = theirs.fileno()
            self._process = subprocess.Popen(command, stdin=end, stdout=end, stderr=subprocess.PIPE)
        self._listener = threading.Thread(target=self._listen, daemon=True, name="jump")
        self._listener.start()

    def _listen(self) -> None:
        """Take what it says, and its exit status: no zombie is left."""
        _, self._said = self._process.communicate()

    def last_words(self, patience: float = 1.0) -> str:
        """Return what ssh said, if it has ended or is about to."""
        self._listener.join(patience)
        return self._said.decode(errors="replace").strip()[-LAST_WORDS:]
