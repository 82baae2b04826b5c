"""
Machines that are far away: a small proxy that holds every byte back for half a round trip.

While `far_away` lasts, whoever on this machine connects to one of the addresses meets the proxy instead (nftables, as
the lab itself does it): so every tool is far away by the addresses that it knows, and none has to be told.

    python -m benchmarks.distance SECONDS BYTES PORT=HOST:PORT …     the proxy alone

BYTES a second go over the one line that all connections share, each way (0: as many as can). The handshake of TCP
itself is not held back: every tool has one round trip a connection less than it would have.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DISTANCES = (0, 50, 150)  # milliseconds of round trip
FIRST_PORT = 22100
HERE = "127.0.0.1"
SELF = "127.0.0.9"  # the proxy's own address as a client: what comes from there goes through
TABLE = "khw-bench-distance"
PIECE = 16 << 10
BACKLOG = 0.05  # seconds of a line's bytes that wait before it, so that it is never idle while somebody sends

Address = tuple[str, int]


@dataclass(slots=True)
class Crossed:
    """How many bytes went to the machines and came back, once the block is over."""

    to: int = 0
    back: int = 0


@contextmanager
def far_away(addresses: Sequence[Address], round_trip: int, mbits: int = 0) -> Iterator[Crossed]:
    """
    Put these addresses `round_trip` milliseconds away for the length of the block, behind a line of `mbits`.

    At 0 and 0 nothing stands between.
    """
    crossed = Crossed()
    if not round_trip and not mbits:
        yield crossed
        return
    led = list(enumerate(addresses, FIRST_PORT))
    routes = [f"{port}={host}:{target}" for port, (host, target) in led]
    line = (str(round_trip / 2000), str(mbits * 125_000))
    command = (sys.executable, "-m", "benchmarks.distance", *line, *routes)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            if proxy.stdout is None or not proxy.stdout.readline():  # it says when it listens
                msg = "the proxy did not start"
                raise RuntimeError(msg)
            _nft(_rules(led))
            yield crossed
        finally:
            _nft(f"add table ip {TABLE}\ndelete table ip {TABLE}\n")
            proxy.terminate()
            said = proxy.stdout.readline().split() if proxy.stdout else []
            if said:
                crossed.to, crossed.back = map(int, said)


def _rules(led: Sequence[tuple[int, Address]]) -> str:
    rows = [
        f"    ip saddr != {SELF} ip daddr {host} tcp dport {target} dnat to {HERE}:{port}"
        for port, (host, target) in led
    ]
    hook = "    type nat hook output priority -110; policy accept;"  # before the lab's own
    lines = [f"add table ip {TABLE}", f"delete table ip {TABLE}", f"table ip {TABLE} {{", "  chain output {", hook]
    return "\n".join([*lines, *rows, "  }", "}", ""])


def _nft(rules: str) -> None:
    subprocess.run(("nft", "-f", "-"), input=rules, text=True, check=True)


class Line:
    """One way of the line: how long a byte is on it, how many fit in a second, how many went over it."""

    def __init__(self, delay: float, rate: int) -> None:
        self.delay = delay
        self.crossed = 0
        self._rate = rate
        self._free = 0.0

    async def take(self, data: bytes) -> float:
        """Put these bytes on the line, as soon as few are before them; return when they will be through."""
        self.crossed += len(data)
        now = time.monotonic()
        if self._rate:
            self._free = max(now, self._free) + len(data) / self._rate
            await asyncio.sleep(self._free - now - BACKLOG)
            now = self._free
        return now + self.delay


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line) -> None:
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        writer.close()

    delivery = asyncio.create_task(deliver())
    data = b"-"
    while data:
        try:
            data = await reader.read(PIECE)
        except OSError:
            data = b""
        queue.put_nowait((await line.take(data), data))
    await delivery


async def _listen(port: int, host: str, target: int, to: Line, back: Line) -> asyncio.Server:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, target, local_addr=(SELF, 0))
        await asyncio.gather(_forward(reader, far_writer, to), _forward(far_reader, writer, back))

    return await asyncio.start_server(accept, HERE, port)


async def _serve(delay: float, rate: int, routes: Sequence[str]) -> None:
    to, back = Line(delay, rate), Line(delay, rate)
    servers = []
    for route in routes:
        port, _, target = route.partition("=")
        host, _, number = target.rpartition(":")
        servers.append(await _listen(int(port), host, int(number), to, back))
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    sys.stdout.write(f"{to.crossed} {back.crossed}\n")
    sys.stdout.flush()
    os._exit(0)  # connections that are still open are nobody's any more


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
