"""
Readings that are begun before their turn, all at once.

A run asks the project some forty things, and far away each is a round trip. Each is asked for anew in every run, and
is good for those who were expected to ask, for a few seconds, and only as long as khw has written nothing in between.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

FRESH = 5.0  # seconds
MOST_AT_ONCE = 24


class Reading(NamedTuple):
    """A method of one of the library's clients that only reads, and its request."""

    client: str
    method: str
    request: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, client: str, method: str, request: Mapping[str, Any]) -> Reading:
        """Return the reading; two of the same are equal."""
        return cls(client, method, tuple(sorted((name, str(value)) for name, value in request.items())))


@dataclass(slots=True)
class _Begun:
    answer: Future[Any]
    at: float
    takers: int


class Ahead:
    """What was begun; `log_in` is done once before all of it, and its failure is everyone's answer."""

    def __init__(self, log_in: Callable[[], object], read: Callable[[str, str, Mapping[str, Any]], Any]) -> None:
        self._log_in = log_in
        self._read = read
        self._begun: dict[Reading, _Begun] = {}
        self._lock = threading.Lock()

    def begin(self, expected: Iterable[Reading]) -> None:
        """Begin these; one that is there more often is for as many."""
        now = time.monotonic()
        with self._lock:
            rows = {
                reading: _Begun(Future(), now, takers)
                for reading, takers in Counter(expected).items()
                if reading not in self._begun
            }
            self._begun |= rows
        if rows:
            threading.Thread(target=self._work, args=(rows,), name="khw-ahead", daemon=True).start()

    def take(self, client: str, method: str, request: Mapping[str, Any]) -> Future[Any] | None:
        """Return the answer that is on its way or there; None: it has to be asked for."""
        with self._lock:
            reading = Reading.of(client, method, request)
            begun = self._begun.get(reading)
            if begun is None:
                return None
            begun.takers -= 1
            stale = time.monotonic() - begun.at > FRESH
            if stale or not begun.takers:
                del self._begun[reading]
            return None if stale else begun.answer

    def forget(self) -> None:
        """Take nothing of it any more: something is about to change."""
        with self._lock:
            self._begun.clear()

    def drop(self, readings: Iterable[Reading]) -> None:
        """Take nothing more of these: whoever was to ask is through."""
        with self._lock:
            for reading in readings:
                self._begun.pop(reading, None)

    def _work(self, rows: Mapping[Reading, _Begun]) -> None:
        try:
            self._log_in()
        except Exception as error:  # noqa: BLE001 - whoever asks gets it, and says what it was for
            for begun in rows.values():
                begun.answer.set_exception(error)
            return
        with ThreadPoolExecutor(min(MOST_AT_ONCE, len(rows)), thread_name_prefix="khw-ahead") as pool:
            for reading, begun in rows.items():
                pool.submit(self._one, reading, begun.answer)

    def _one(self, reading: Reading, answer: Future[Any]) -> None:
        try:
            answer.set_result(self._read(reading.client, reading.method, dict(reading.request)))
        except Exception as error:  # noqa: BLE001 - as above
            answer.set_exception(error)
