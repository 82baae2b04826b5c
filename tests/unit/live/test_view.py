from __future__ import annotations

import io
import threading
import time
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from khw import interrupt, live
from khw.engine.events import Notice, PhaseStarted, RunEnded, RunStarted
from khw.engine.report import OPERATOR
from khw.errors import UsageError
from khw.live.view import LiveView
from khw.output.render import ProgressLines

if TYPE_CHECKING:
    from khw.engine.events import Event

START = RunStarted("1", (OPERATOR,), ("tools",), {OPERATOR: ("tools",)})
END = RunEnded("1", 0, 1.0)


class Slow(io.StringIO):
    """A terminal that takes nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()

    def write(self, data: str) -> int:
        self.let.wait(10)
        return super().write(data)


def terminal(file: io.StringIO) -> Console:
    return Console(file=file, force_terminal=True, width=80, height=24, color_system=None)


def shown(*events: Event) -> str:
    out = io.StringIO()
    with LiveView(terminal(out), what="khw run") as view:
        for event in events:
            view(event)
    return out.getvalue()


def test_what_was_told_is_on_the_screen_when_the_view_ends_also_what_came_after_the_run() -> None:
    out = shown(START, Notice(OPERATOR, "planned"), END, Notice(OPERATOR, "the journal is not whole"))
    assert "operator: planned" in out
    assert "operator: the journal is not whole" in out


def test_a_terminal_that_takes_nothing_does_not_hold_up_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("khw.live.view.PATIENCE", 0.1)
    out = Slow()
    with LiveView(terminal(out), what="khw run") as view:
        view(START)
        began = time.monotonic()
        for _ in range(10_000):
            view(PhaseStarted(OPERATOR, "tools"))
        assert time.monotonic() - began < 8, "the terminal would have taken 10 s for its first line"
    out.let.set()


def test_an_event_that_cannot_be_drawn_reaches_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("khw.live.view.frame", broken)
    shown(START, PhaseStarted(OPERATOR, "tools"), END)


def test_the_third_ctrl_c_takes_the_frame_away(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[str] = []
    monkeypatch.setattr("khw.live.screen.Screen.abandon", lambda _: gone.append("the frame"))
    with LiveView(terminal(io.StringIO()), what="khw run"):
        interrupt._say_farewell()
    interrupt._say_farewell()
    assert gone == ["the frame"]


@pytest.mark.parametrize(("mode", "dumb"), [("lines", False), ("auto", True)])
def test_without_a_terminal_there_are_lines(mode: live.Mode, dumb: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if dumb:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "dumb")
    with live.progress(mode, check=False, what="khw run") as sink:
        assert isinstance(sink, ProgressLines)


def test_a_live_view_that_was_asked_for_needs_a_terminal() -> None:
    with pytest.raises(UsageError, match="60 columns"):
        live.progress("live", check=False, what="khw run")
