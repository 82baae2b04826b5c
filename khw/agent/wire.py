"""
Frames: how the two ends of the channel talk; the same code on both.

A frame is a header (kind, number of the exchange, length) and a body: JSON, or a piece of a payload. A payload is any
number of pieces and an empty one, or a ticket for it (`khw.agent.relay`). The number lets the node drop what is left of
a payload after a failure.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = struct.Struct(">cII")
JSON = b"J"
DATA = b"D"
TICKET = b"T"  # in place of a payload's pieces: another node has it, and this gets it there
CHUNK = 256 << 10  # bytes of a payload in one frame
WINDOW = 8 << 20  # bytes of payloads under way that the node has not taken yet
LIMIT = 256 << 20  # longer frames are a broken stream
ALIVE = 3.0  # seconds between two signs of life of a busy node
SILENCE = 15.0  # seconds without one after which a node counts as dead
ORPHANED = 60.0  # seconds without the operator after which a busy agent ends itself


class BrokenStreamError(Exception):
    """The other end does not talk in frames."""


class Frame(NamedTuple):
    """One frame."""

    kind: bytes
    exchange: int
    body: bytes

    def message(self) -> dict[str, Any]:
        """Return the JSON object in it."""
        value: dict[str, Any] = json.loads(self.body)
        return value


def pack(kind: bytes, exchange: int, body: bytes) -> bytes:
    """Return a frame's bytes."""
    return HEADER.pack(kind, exchange, len(body)) + body


def pack_message(exchange: int, value: dict[str, Any]) -> bytes:
    """Return the bytes of a frame with a JSON object."""
    return pack(JSON, exchange, json.dumps(value, separators=(",", ":")).encode())


def pack_ticket(exchange: int, value: dict[str, Any]) -> bytes:
    """Return the bytes of a frame that says where a payload is to be had."""
    return pack(TICKET, exchange, json.dumps(value, separators=(",", ":")).encode())


def read_frame(read: Callable[[int], bytes]) -> Frame:
    """Read a frame with `read(n)`, which returns exactly n bytes or raises EOFError."""
    kind, exchange, length = HEADER.unpack(read(HEADER.size))
    if kind not in (JSON, DATA, TICKET) or length > LIMIT:
        msg = "the stream between khw and its agent is broken"
        raise BrokenStreamError(msg)
    return Frame(kind, exchange, read(length) if length else b"")
