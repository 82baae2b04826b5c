"""
`khw run --step`: before each phase the run stops, shows what the phase is, and asks.

It is asked once a phase, not once a host: by the first host that has come through the phase's gates, and the answer
counts for all. Hosts that have nothing to ask go on meanwhile; what is to be said of them is said after the answer.
Ctrl-C ends the waiting like any other.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import textwrap
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from khw import interrupt
from khw.engine.gates import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from khw.engine.events import Event, Sink
    from khw.engine.phases import Phase

POLL = 0.2  # seconds between two looks whether the run was cancelled
QUESTION = "go on? [Y]es, [s]how the shell, [a]ll the rest without asking, [q]uit: "


@dataclass
class Stepper:
    """Asks on a terminal; `describe` and `script` give the texts about a phase, as it is on a host."""

    describe: Callable[[Phase, str], str]
    script: Callable[[Phase, str], str]
    answers: TextIO = field(default_factory=lambda: sys.stdin)
    say: Callable[[str], None] = lambda text: print(text, end="", file=sys.stderr, flush=True)
    _allowed: set[str] = field(default_factory=set)
    _everything: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _asking: bool = False
    _kept: list[Callable[[], None]] = field(default_factory=list)
    _saying: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, phase: Phase, host: str) -> None:
        """Return when the phase may go on; raise `Cancelled` if the run is to end."""
        while not self._lock.acquire(timeout=POLL):
            _raise_if_pressed()
        try:
            if not self._everything and phase.name not in self._allowed:
                self._ask_alone(phase, host)
                self._allowed.add(phase.name)
        finally:
            self._lock.release()
        _raise_if_pressed()

    def after_answers(self, sink: Sink) -> Sink:
        """Return a sink that hears of an event when nobody is being asked: no line lands in a question."""

        def hear(event: Event) -> None:
            with self._saying:
                if self._asking:
                    self._kept.append(lambda: sink(event))
                else:
                    sink(event)

        return hear

    def _ask_alone(self, phase: Phase, host: str) -> None:
        with self._saying:
            self._asking = True
        try:
            self.say(f"\n{_wrapped(self.describe(phase, host))}\n")
            self._ask(phase, host)
        finally:
            with self._saying:
                self._asking = False
                while self._kept:
                    self._kept.pop(0)()

    def _ask(self, phase: Phase, host: str) -> None:
        while True:
            self.say(QUESTION)
            answer = self._line().strip().lower()
            if answer in {"", "y", "yes"}:
                return
            if answer in {"a", "all"}:
                self._everything = True
                return
            if answer in {"q", "quit", "n", "no"}:
                _stop()
            if answer in {"s", "show"}:
                self.say(f"\n{self.script(phase, host)}\n")

    def _line(self) -> str:
        """Return what was typed; the end of the input is a no."""
        while True:
            _raise_if_pressed()
            if select.select([self.answers], [], [], POLL)[0]:
                line = self.answers.readline()
                return line or "q"


def _wrapped(text: str) -> str:
    """Return lines that end between words, at the terminal's width; what is indented stays so."""
    width = shutil.get_terminal_size().columns - 1
    lines = (
        textwrap.wrap(line, width, subsequent_indent=line[: len(line) - len(line.lstrip())])
        for line in text.split("\n")
    )
    return "\n".join(row for rows in lines for row in rows or [""])


def _stop() -> None:
    """Do as if Ctrl-C were pressed once: what runs ends first, nothing new begins, `khw run --resume` goes on."""
    os.kill(os.getpid(), signal.SIGINT)
    while True:
        interrupt.pause(POLL)
        _raise_if_pressed()


def _raise_if_pressed() -> None:
    if interrupt.pressed():
        raise Cancelled
