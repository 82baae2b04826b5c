"""
Ctrl-C. A process has one, so there is one of this.

The first press is counted, and nobody begins anything new; what runs goes on to its end. The second one ends at once
whatever was begun through this module or told it how to be ended; the third leaves the process as it is. SIGTERM and
SIGHUP are a second press. Children have a process group of their own, so that the terminal's Ctrl-C is ours alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from khw.errors import CutOffError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

EXIT_CODE = 130
LAST_PRESS = 3
GRACE = 3.0  # seconds for what was ended to notice


class _Presses:
    """How often Ctrl-C was pressed, and what is to be ended with the second time."""

    def __init__(self) -> None:
        self.count = 0
        self.ended = threading.Event()
        self.ended_at = 0.0
        self.listening = False
        self.farewells: list[Callable[[], object]] = []
        self._ends: list[Callable[[], object]] = []
        self._lock = threading.RLock()

    def reset(self) -> None:
        self.count = 0
        self.ended.clear()

    def add(self, end: Callable[[], object]) -> None:
        with self._lock:
            self._ends.append(end)
        if self.ended.is_set():
            end()

    def remove(self, end: Callable[[], object]) -> None:
        with self._lock:
            self._ends.remove(end)

    def end(self) -> None:
        self.ended_at = time.monotonic()
        self.ended.set()
        with self._lock:
            ends = list(self._ends)
        for end in ends:
            with contextlib.suppress(Exception):
                end()


_presses = _Presses()


@contextmanager
def listening(on_press: Callable[[int], None] | None = None, *, patient: bool = True) -> Iterator[bool]:
    """
    Count presses while the block runs, instead of raising in the middle of anything; tell `on_press` of each.

    Without `patient` the first one ends everything. Inside another such block, and in other threads than the main one,
    this does nothing, and gives False.
    """
    if _presses.listening or threading.current_thread() is not threading.main_thread():
        yield False
        return

    def pressed(number: int, _frame: object) -> None:
        strong = not patient or number != signal.SIGINT
        _presses.count = max(_presses.count + 1, 2 if strong else 1)
        if _presses.count >= LAST_PRESS:
            _say_farewell()
            os._exit(EXIT_CODE)
        if on_press is not None:
            on_press(_presses.count)
        if _presses.count > 1:
            threading.Thread(target=_presses.end, daemon=True).start()  # a lock may be held where the signal came

    _presses.reset()
    _presses.listening = True
    before = {number: signal.signal(number, pressed) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield True
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _presses.listening = False


def pressed() -> bool:
    """Whether nothing new is to be begun."""
    return _presses.count > 0


def ended() -> bool:
    """Whether everything was ended."""
    return _presses.ended.is_set()


def overdue() -> bool:
    """Whether everything was ended, and what still runs has had its time to notice."""
    return ended() and time.monotonic() - _presses.ended_at > GRACE


def raise_if_ended() -> None:
    """Raise `CutOffError` once everything was ended; for loops that take long."""
    if ended():
        raise CutOffError("cut off by Ctrl-C", hint="khw run --resume goes on from here")


def pause(seconds: float) -> None:
    """Sleep; `CutOffError` when everything is ended meanwhile."""
    _presses.ended.wait(seconds)
    raise_if_ended()


@contextmanager
def ends_by(end: Callable[[], object]) -> Iterator[None]:
    """Have `end` called, from another thread, if everything is to end while the block runs."""
    _presses.add(end)
    try:
        yield
    finally:
        _presses.remove(end)


@contextmanager
def before_leaving(farewell: Callable[[], object]) -> Iterator[None]:
    """Have `farewell` called if the process leaves as it is while the block runs; it may take no lock."""
    _presses.farewells.append(farewell)
    try:
        yield
    finally:
        _presses.farewells.remove(farewell)


def _say_farewell() -> None:
    for farewell in list(_presses.farewells):
        with contextlib.suppress(Exception):
            farewell()


def run(
    argv: Sequence[str], *, stdin: bytes | None = None, timeout: float, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """
    Run a command in a group of its own, and return its code and output.

    TimeoutExpired and CutOffError when its whole group had to be killed.
    """
    raise_if_ended()
    with subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
        **options,
    ) as child:

        def kill() -> None:
            kill_group(child)

        with ends_by(kill):
            try:
                out, err = child.communicate(stdin, timeout)
            except BaseException:
                kill()
                raise
    raise_if_ended()
    return subprocess.CompletedProcess(list(argv), child.returncode, out, err)


def kill_group(child: subprocess.Popen[Any]) -> None:
    """Kill a child that leads its group, and the group; one that has ended is no error."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def leave(code: int) -> NoReturn:
    """End the process; after the second press without waiting for threads that may hang in a call."""
    if ended():
        vanish(code)
    sys.exit(code)


def vanish(code: int) -> NoReturn:
    """End the process as it is: nothing is waited for, and nothing is taken apart object by object."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # whoever read it is gone
        code = code or 1
    os._exit(code)
