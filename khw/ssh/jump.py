"""
Through a bastion: a socket whose far end is the node's SSH port, by way of the user's own `ssh -W`.

The user's ssh logs in to the bastion with the user's keys, agent, configuration and known_hosts, and asks nothing
(BatchMode): a bastion that was never met is an error, not a question that nobody sees. What goes through is the
node's SSH connection, end to end: the bastion sees none of it. paramiko's own ProxyCommand reads pipes byte by byte;
this is a socket.
"""

from __future__ import annotations

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
    """The way: `hops` as `ssh -J` takes it, and the user's configuration ('': ssh's own default)."""

    hops: str
    config: str = ""

    def command(self, host: str, port: int, patience: float) -> list[str]:
        """Return the ssh command whose input and output are the node's port."""
        *first, last = (hop.strip() for hop in self.hops.split(","))
        target, _, bastion_port = last.removeprefix("ssh://").partition(":")
        limit = f"ConnectTimeout={max(1, round(patience))}"
        options = ("BatchMode=yes", limit, "ServerAliveInterval=5", "ServerAliveCountMax=3", "ClearAllForwardings=yes")
        return [
            "ssh",
            *(("-F", self.config) if self.config else ()),
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
