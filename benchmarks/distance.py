"""
Machines that are far away: a small proxy that holds every byte back for half a round trip.

While `far_away` lasts, whoever on this machine connects to one of the addresses meets the proxy instead (nftables, as
the lab itself does it): so every tool is far away by the addresses that it knows, and none has to be told.

    python -m benchmarks.distance SECONDS PORT=HOST:PORT …     the proxy alone

The handshake of TCP itself is not held back: every tool has one round trip a connection less than it would have.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FIRST_PORT = 22100
HERE = "127.0.0.1"
SELF = "127.0.0.9"  # the proxy's own address as a client: what comes from there goes through
TABLE = "khw-bench-distance"
PIECE = 64 << 10

Address = tuple[str, int]


@contextmanager
def far_away(addresses: Sequence[Address], round_trip: int) -> Iterator[None]:
    """Put these addresses `round_trip` milliseconds away for the length of the block; at 0 nothing stands between."""
    if not round_trip:
        yield
        return
    led = list(enumerate(addresses, FIRST_PORT))
    routes = [f"{port}={host}:{target}" for port, (host, target) in led]
    command = (sys.executable, "-m", "benchmarks.distance", str(round_trip / 2000), *routes)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            if proxy.stdout is None or not proxy.stdout.readline():  # it says when it listens
                msg = "the proxy did not start"
                raise RuntimeError(msg)
            _nft(_rules(led))
            yield
        finally:
            _nft(f"add table ip {TABLE}\ndelete table ip {TABLE}\n")
            proxy.terminate()


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
        far_reader, far_writer = await asyncio.open_connection(host, target, local_addr=(SELF, 0))
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
