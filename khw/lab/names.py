"""
The lab's resolver, as Google gives one to its machines: instances have names, nothing else does.

It runs as a process of its own inside the lab's namespace (`python -m khw.lab.names`), so that names resolve while the
API's daemon restarts. It reads a hosts file, again whenever that changes. Outside names are answered with NXDOMAIN at
once: the lab has no outside.
"""

from __future__ import annotations

import argparse
import os
import signal
import socketserver
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

from khw.errors import LabError
from khw.files import write_atomically
from khw.lab.command import processes
from khw.lab.guest import RESOLVER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from khw.lab.backend import NetworkState
    from khw.lab.layout import Layout

HEADER = struct.Struct("!6H")
A, ANY, INTERNET = 1, 255, 1
TTL = 30
NO_ERROR, FORMAT_ERROR, NO_SUCH_NAME, NOT_IMPLEMENTED = 0, 1, 3, 4
ANSWER, AUTHORITATIVE, RECURSION_AVAILABLE, RECURSION_DESIRED = 0x8000, 0x0400, 0x0080, 0x0100
STARTED = "ready"


def domain(project: str) -> str:
    """Return the domain of a project's machines."""
    return f"c.{project}.internal"


def hosts(state: NetworkState) -> str:
    """Return the resolver's hosts file: an address and a name a line."""
    lines = sorted(f"{a.internal_ip} {a.machine}" for a in state.attachments)
    return "\n".join(lines) + "\n"


def machine_hosts(machine: str, address: str, project: str) -> str:
    """Return a machine's own /etc/hosts: itself; the others come from the resolver."""
    return (
        "127.0.0.1 localhost\n"
        f"{address} {machine}.{domain(project)} {machine}\n"
        f"{RESOLVER} metadata.google.internal metadata\n"
    )


def machine_resolver(project: str) -> str:
    """Return a machine's /etc/resolv.conf."""
    return f"search {domain(project)}\nnameserver {RESOLVER}\noptions timeout:2\n"


@dataclass(frozen=True, slots=True)
class Names:
    """The resolver's process, and the file that it reads."""

    layout: Layout

    @property
    def file(self) -> Path:
        """The hosts file."""
        return self.layout.directory / "hosts"

    def apply(self, state: NetworkState) -> None:
        """Answer the names of `state`, from now on."""
        text = hosts(state).encode()
        if not self.file.exists() or self.file.read_bytes() != text:
            write_atomically(self.file, text)
        if not self._processes():
            self._start()

    @property
    def runs(self) -> bool:
        """Whether it answers."""
        return bool(self._processes())

    def end(self) -> None:
        """End the resolver."""
        for pid in self._processes():
            os.kill(pid, signal.SIGKILL)

    def _start(self) -> None:
        zone = domain(self.layout.project)
        program = [sys.executable, "-m", "khw.lab.names", "--zone", zone, "--hosts", str(self.file)]
        with (self.layout.directory / "names.log").open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.layout.netns, *program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                text=True,
            )
        if process.stdout is None:  # never, with a pipe asked for
            return
        with process.stdout as output:
            said = output.readline().strip()
        if said != STARTED:
            msg = f"the lab's resolver did not start; see {self.layout.directory}/names.log"
            raise LabError(msg)
        # It outlives this process; a thread takes its exit status, so that it never stays as a zombie.
        threading.Thread(target=process.wait, daemon=True, name="names").start()

    def _processes(self) -> list[int]:
        return processes("khw.lab.names", str(self.file))


@dataclass
class Zone:
    """What the resolver knows."""

    name: str
    file: Path
    _known: dict[str, str] = field(default_factory=dict)
    _changed: int = 0

    def addresses(self) -> Mapping[str, str]:
        """Return name to address, read again if the file changed."""
        changed = self.file.stat().st_mtime_ns
        if changed != self._changed:
            rows = (line.split() for line in self.file.read_text().splitlines())
            self._known = {row[1].lower(): row[0] for row in rows if len(row) == 2}
            self._changed = changed
        return self._known

    def find(self, name: str) -> str | None:
        """Return the address of a machine by its short or its full name."""
        return self.addresses().get(name.lower().rstrip(".").removesuffix(f".{self.name}"))

    def answer(self, query: bytes) -> bytes:
        """Return the answer to a DNS query."""
        identity, flags, questions, *_ = HEADER.unpack_from(query)
        said = ANSWER | AUTHORITATIVE | RECURSION_AVAILABLE | (flags & RECURSION_DESIRED)
        try:
            name, end = _name(query)
            kind, group = struct.unpack_from("!2H", query, end)
        except (struct.error, IndexError, UnicodeDecodeError):
            return HEADER.pack(identity, said | FORMAT_ERROR, 0, 0, 0, 0)
        question = query[HEADER.size : end + 4]
        if (flags >> 11) & 15 or questions != 1 or group != INTERNET:
            return HEADER.pack(identity, said | NOT_IMPLEMENTED, 1, 0, 0, 0) + question
        address = self.find(name)
        if address is None:
            return HEADER.pack(identity, said | NO_SUCH_NAME, 1, 0, 0, 0) + question
        if kind not in {A, ANY}:
            return HEADER.pack(identity, said | NO_ERROR, 1, 0, 0, 0) + question
        record = struct.pack("!3HIH", 0xC000 | HEADER.size, A, INTERNET, TTL, 4) + IPv4Address(address).packed
        return HEADER.pack(identity, said | NO_ERROR, 1, 1, 0, 0) + question + record


def _name(query: bytes) -> tuple[str, int]:
    """Return the question's name and where it ends."""
    labels, position = [], HEADER.size
    while length := query[position]:
        labels.append(query[position + 1 : position + 1 + length].decode("ascii"))
        position += 1 + length
    return ".".join(labels), position + 1


def main() -> None:
    """Serve until ended."""
    options = argparse.ArgumentParser()
    options.add_argument("--zone", required=True)
    options.add_argument("--hosts", required=True, type=Path)
    options.add_argument("--address", default=RESOLVER)
    options.add_argument("--port", default=53, type=int)
    chosen = options.parse_args()
    zone = Zone(chosen.zone, chosen.hosts)

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            query, connection = self.request
            if len(query) >= HEADER.size:
                connection.sendto(zone.answer(query), self.client_address)

    class Stream(socketserver.StreamRequestHandler):
        timeout = 5

        def handle(self) -> None:
            while len(size := self.rfile.read(2)) == 2:
                query = self.rfile.read(int.from_bytes(size))
                if len(query) < HEADER.size:
                    return
                answer = zone.answer(query)
                self.wfile.write(len(answer).to_bytes(2) + answer)

    class StreamServer(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    where = (chosen.address, chosen.port)
    with StreamServer(where, Stream) as stream, socketserver.UDPServer(where, Datagram) as datagrams:
        threading.Thread(target=stream.serve_forever, daemon=True).start()
        sys.stdout.write(f"{STARTED}\n")
        sys.stdout.flush()
        datagrams.serve_forever()


if __name__ == "__main__":
    main()
