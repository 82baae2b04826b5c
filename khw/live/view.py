"""An event sink that draws: it only queues what it is told, and a thread of its own draws at a modest rate."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Self

from rich.text import Text

from khw import interrupt
from khw.engine.events import Notice, PhaseEnded
from khw.history import forecast
from khw.live.frame import Size, frame
from khw.live.model import Model
from khw.live.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from khw.engine.events import Event
    from khw.history.forecast import Pace

PERIOD = 0.2  # seconds between two frames
PATIENCE = 2.0  # seconds for the last frame; a terminal that takes nothing holds nobody up


class LiveView:
    """
    The live view, for the length of a `with` block; call it with each event, from any thread.

    `paces` are read by the drawing thread, once. Nothing that goes wrong here reaches the run.
    """

    def __init__(self, console: Console, *, what: str, paces: Callable[[], Sequence[Pace]] = tuple) -> None:
        self._screen = Screen(console)
        self._console = console
        self._what = what
        self._read_paces = paces
        self._queue: deque[tuple[float, Event]] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="live view", daemon=True)

    def __call__(self, event: Event) -> None:
        """Take an event."""
        self._queue.append((time.monotonic(), event))

    def __enter__(self) -> Self:
        self._leaving = interrupt.before_leaving(self._screen.abandon)
        self._leaving.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(PATIENCE)
        self._leaving.__exit__(None, None, None)

    def _work(self) -> None:
        try:
            self._draw_until_closed()
        except Exception as bug:  # a picture that fails must not take the run with it
            logging.getLogger(__name__).debug("the live view ended", exc_info=bug)

    def _draw_until_closed(self) -> None:
        model, last = Model(began=time.monotonic()), ("", "")
        paces = tuple(self._read_paces())
        while True:
            closing = self._closing.wait(PERIOD)
            above = self._take(model)
            if closing:
                self._screen.draw([], above)
                return
            if not model.rows:
                if above:
                    self._screen.draw([], above)
                continue
            now = time.monotonic()
            columns, lines = self._screen.size
            size = Size(columns=columns, lines=lines, signs=self._signs)
            expected = forecast.expected(paces, model)
            picture = frame(model, size, now, what=self._what, expected=expected)
            seen = ("\n".join(line.markup for line in picture), f"{size}")
            if above or seen != last:
                self._screen.draw(picture, above)
                last = seen

    def _take(self, model: Model) -> list[Text]:
        """Give the model all events that have come, and return what is to be told above the picture."""
        told: list[Text] = []
        while self._queue:
            at, event = self._queue.popleft()
            said = model.apply(event, at)
            if said is not None:
                told += _lines(said)
        return told

    @property
    def _signs(self) -> bool:
        return (self._console.encoding or "").lower().replace("-", "").startswith("utf")


def _lines(event: Event) -> list[Text]:
    match event:
        case PhaseEnded() if event.result.error:
            result = event.result
            said = str(event.result.error).splitlines()[0]
            more = "" if said == result.outcome else f": {said}"
            return [Text(f"{result.host}: {result.phase}: {result.outcome}{more}", style="red")]
        case Notice():
            return [Text(f"{event.host}: {event.text}")]
        case _:
            return []
