"""The agent's end of the channel: requests and payloads in, events out."""

from __future__ import annotations

import collections
import os
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO

from khw.agent.wire import (
    ALIVE,
    DATA,
    JSON,
    ORPHANED,
    TICKET,
    WINDOW,
    BrokenStreamError,
    Frame,
    pack,
    pack_message,
    read_frame,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Session:
    """
    One operator, for as long as the channel is open.

    A thread of its own reads, so that the channel's end is noticed while a command runs; it never waits for the main
    thread, because the operator sends no more than WINDOW bytes ahead. At the end, `on_end` kills what runs.
    """

    def __init__(self, source: BinaryIO, sink: BinaryIO, on_end: Callable[[], None]) -> None:
        self._source = source
        self._sink = sink
        self._on_end = on_end
        self._frames: collections.deque[Frame] = collections.deque()
        self._arrived = threading.Condition()
        self._writing = threading.Lock()
        self._busy = threading.Event()
        self._heard = time.monotonic()
        self._exchange = 0
        self._began = self._heard  # on the present exchange
        self.on_life: Callable[[], None] = lambda: None  # hears of every sign of life of the operator

    def listen(self) -> None:
        """Start reading, and giving signs of life."""
        threading.Thread(target=self._read_all, daemon=True).start()
        threading.Thread(target=self._live, daemon=True).start()

    def request(self) -> dict[str, Any]:
        """Return the next request; what is left of an earlier one's payloads is dropped."""
        self._busy.clear()
        while True:
            frame = self._next()
            if frame.kind == JSON:
                self._exchange = frame.exchange
                self._began = time.monotonic()
                self._busy.set()
                return frame.message()

    def payload(self) -> Iterator[bytes]:
        """Give the pieces of the next payload, and tell the operator what was taken."""
        taken = 0
        while True:
            body = self._next().body
            taken += len(body)
            if taken and (not body or taken >= WINDOW // 8):
                self.tell(event="taken", bytes=taken)
                taken = 0
            if not body:
                return
            yield body

    def drop_payload(self) -> None:
        """Take the next payload, and want nothing of it."""
        if self.ticket():
            self.tell(event="fetched", bytes=0)
            return
        for _ in self.payload():
            pass

    def ticket(self) -> dict[str, Any] | None:
        """Return where the next payload is to be had, if not from the operator."""
        if self._next(take=False).kind != TICKET:
            return None
        return self._next().message()

    def tell(self, **event: Any) -> None:
        """Send an event of the present exchange; with its end go the seconds that it took here."""
        if event["event"] == "end":
            event["took"] = time.monotonic() - self._began
        self._write(pack_message(self._exchange, event))

    def send(self, data: bytes) -> None:
        """Send a piece of data."""
        self._write(pack(DATA, self._exchange, data))

    def _next(self, *, take: bool = True) -> Frame:
        with self._arrived:
            while not self._frames:
                self._arrived.wait()
            return self._frames.popleft() if take else self._frames[0]

    def _write(self, data: bytes) -> None:
        try:
            with self._writing:
                self._sink.write(data)
                self._sink.flush()
        except OSError:
            self._end()

    def _read_all(self) -> None:
        try:
            while True:
                frame = read_frame(self._exactly)
                self._heard = time.monotonic()
                self.on_life()
                if frame.kind != JSON or frame.body != b"{}":  # {} is the operator's sign of life
                    with self._arrived:
                        self._frames.append(frame)
                        self._arrived.notify()
        except (EOFError, OSError, BrokenStreamError):
            self._end()

    def _exactly(self, length: int) -> bytes:
        data = self._source.read(length)
        if len(data) < length:
            raise EOFError
        return data

    def _live(self) -> None:
        while True:
            self._busy.wait()
            time.sleep(ALIVE)
            if self._busy.is_set():
                self.tell(event="alive")
                if time.monotonic() - self._heard > ORPHANED:
                    self._end()

    def _end(self) -> None:
        self._on_end()
        os._exit(1)
