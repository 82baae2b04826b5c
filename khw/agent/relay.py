"""
Artifacts from node to node, so that they cross the operator's line once (docs/decisions/0022-relay.md).

The giving end listens on its node's internal address and gives files by digest, and only those that it was told to
give: artifacts, which are public. Who asks shows a ticket: the file's digest and a number, sealed for its own address
with a key that only the operator and the giving agent have. A ticket is good once. The taking end trusts nobody: it
takes as many bytes as the ticket says, and who calls `fetch` checks the digest.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PAPER = struct.Struct(">32s16s32s")  # a ticket: digest, number, seal
LENGTH = struct.Struct(">Q")
PIECE = 1 << 20
MOST = 16  # connections at once
PATIENCE = 5.0  # seconds to connect, for a ticket, and for each next piece
IDLE = 600.0  # seconds without anybody after which nothing listens any more
SLOWEST = 1 << 20  # bytes a second that a whole transfer must reach, beside that
ROOM = 1 << 30  # bytes of disk that must be free for a file to be kept that has no other use


class MissedError(Exception):
    """Another node did not give what it has; `wrong` if it gave something else."""

    def __init__(self, why: str, *, wrong: bool = False) -> None:
        super().__init__(why)
        self.wrong = wrong


def seal(key: bytes, digest: bytes, number: bytes, address: str) -> bytes:
    """Return what makes a ticket valid for who asks from this address."""
    return hmac.new(key, digest + number + address.encode(), hashlib.sha256).digest()


class Shelf:
    """What this node gives to others, for as long as its agent lives: open files, so that nothing has to be removed."""

    def __init__(self) -> None:
        self._address = ""
        self._key = b""
        self._files: dict[bytes, int] = {}
        self._used: set[bytes] = set()
        self._port = 0
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(MOST)

    def open(self, address: str, key: str) -> None:
        """Take files from now on, to be given to others at this address of ours."""
        self._address, self._key = address, bytes.fromhex(key)

    def put(self, path: str, sha256: str) -> int:
        """Give this file, whose digest was checked, to others; return the port for that, 0 if it cannot be."""
        if not self._key:
            return 0
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            return 0
        with self._lock:
            before = self._files.setdefault(bytes.fromhex(sha256), descriptor)
            if before != descriptor:
                os.close(descriptor)
            return self._port or self._listen()

    def _listen(self) -> int:
        listener = socket.socket()
        try:
            listener.bind((self._address, 0))
            listener.listen(MOST)
        except OSError:
            listener.close()
            return 0
        listener.settimeout(IDLE)
        self._port = int(listener.getsockname()[1])
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()
        return self._port

    def _serve(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    peer, (address, *_) = listener.accept()
                except OSError:
                    break
                if self._places.acquire(blocking=False):
                    threading.Thread(target=self._answer, args=(peer, address), daemon=True).start()
                else:
                    peer.close()
            with self._lock:
                self._port = 0

    def _answer(self, peer: socket.socket, address: str) -> None:
        try:
            with peer:
                peer.settimeout(PATIENCE)
                descriptor = self._admitted(_exactly(peer, PAPER.size), address)
                if descriptor is not None:
                    size = os.fstat(descriptor).st_size
                    peer.sendall(LENGTH.pack(size))
                    with open(os.dup(descriptor), "rb") as file:
                        peer.sendfile(file, 0, size)
        except (OSError, MissedError):
            pass  # who asked will see, and be served by somebody else
        finally:
            self._places.release()

    def _admitted(self, paper: bytes, address: str) -> int | None:
        """Return the file that this ticket is for; None if it is none of ours, another's, or was shown before."""
        digest, number, shown = PAPER.unpack(paper)
        if not hmac.compare_digest(shown, seal(self._key, digest, number, address)):
            return None
        with self._lock:
            if number in self._used:
                return None
            self._used.add(number)
            return self._files.get(digest)


def fetch(ticket: dict[str, Any], write: Callable[[bytes], None]) -> None:
    """Get the ticket's bytes from the node that has them; MissedError, and never a wait without an end."""
    where, patience = (ticket["address"], ticket["port"]), ticket["patience"]
    deadline = time.monotonic() + patience + ticket["size"] / SLOWEST
    try:
        peer = socket.create_connection(where, patience, source_address=(ticket["own"], 0))
    except OSError as error:
        raise MissedError(_said(error, "it cannot be reached")) from None
    with peer:
        peer.settimeout(patience)
        try:
            peer.sendall(bytes.fromhex(ticket["paper"]))
        except OSError as error:
            raise MissedError(_said(error, "it takes no ticket")) from None
        (size,) = LENGTH.unpack(_exactly(peer, LENGTH.size))
        if size != ticket["size"]:
            raise MissedError(f"it has {size} bytes, not {ticket['size']}", wrong=True)
        while size:
            piece = _some(peer, min(PIECE, size))
            if time.monotonic() > deadline:
                raise MissedError("it is too slow")
            size -= len(piece)
            write(piece)


def room(path: str) -> bool:
    """Whether a file may lie there for others' sake alone."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize > ROOM


def _exactly(peer: socket.socket, length: int) -> bytes:
    data = b""
    deadline = time.monotonic() + PATIENCE
    while len(data) < length:
        data += _some(peer, length - len(data))
        if time.monotonic() > deadline:
            raise MissedError("it is too slow")
    return data


def _some(peer: socket.socket, limit: int) -> bytes:
    try:
        piece = peer.recv(limit)
    except OSError as error:
        raise MissedError(_said(error, "it went silent")) from None
    if not piece:
        raise MissedError("it ended too early")
    return piece


def _said(error: OSError, what: str) -> str:
    return f"{what}: {error.strerror or error}"
