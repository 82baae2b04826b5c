"""
Machines that are far away: a small proxy in front of each SSH port that holds every byte back for half a round trip.

    python -m benchmarks.distance SECONDS PORT=HOST:PORT …

The handshake of TCP itself is not held back: every tool has one round trip a connection less than it would have.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.ground import Machine

FIRST_PORT = 22100
HERE = "127.0.0.1"
PIECE = 64 << 10


@contextmanager
def far_away(machines: Sequence[Machine], round_trip: float) -> Iterator[tuple[Machine, ...]]:
    """Put the machines `round_trip` seconds away for the length of the block; they are yielded as they are reached."""
    ports = range(FIRST_PORT, FIRST_PORT + len(machines))
    routes = [f"{port}={m.host}:{m.port}" for port, m in zip(ports, machines, strict=True)]
    command = (sys.executable, "-m", "benchmarks.distance", str(round_trip / 2), *routes)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            if proxy.stdout is None or not proxy.stdout.readline():  # it says when it listens
                msg = "the proxy did not start"
                raise RuntimeError(msg)
            yield tuple(replace(m, host=HERE, port=port) for port, m in zip(ports, machines, strict=True))
        finally:
            proxy.terminate()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
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
        queue.put_nowait((time.monotonic() + delay, data))
    await delivery


async def _listen(port: int, host: str, target: int, delay: float) -> asyncio.Server:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, target)
        await asyncio.gather(_forward(reader, far_writer, delay), _forward(far_reader, writer, delay))

    return await asyncio.start_server(accept, HERE, port)


async def _serve(delay: float, routes: Sequence[str]) -> None:
    servers = []
    for route in routes:
        port, _, target = route.partition("=")
        host, _, number = target.rpartition(":")
        servers.append(await _listen(int(port), host, int(number), delay))
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]), sys.argv[2:]))
