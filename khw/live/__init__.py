"""
khw.live: a run as it goes, at the foot of a terminal.

    model    what the run is at this moment, from its events
    frame    that as lines of text, for a terminal of so many columns and lines
    screen   the lines that are drawn again and again
    view     the event sink, with the thread that draws
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Literal, TypeAlias

from khw.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from rich.console import Console

    from khw.engine.events import Sink
    from khw.history.forecast import Pace

Mode: TypeAlias = Literal["auto", "live", "lines"]
LEAST_COLUMNS, LEAST_LINES = 60, 10


def progress(
    mode: Mode, *, check: bool, what: str, paces: Callable[[], Sequence[Pace]] = tuple
) -> AbstractContextManager[Sink]:
    """Return the sink for this terminal: the live view, or a line an event where there is none (or it is too small)."""
    from rich.console import Console

    from khw.output.render import ProgressLines

    console = Console(stderr=True, highlight=False)
    fits = able(console)
    if mode == "live" and not fits:
        msg = f"the live view needs a terminal of {LEAST_COLUMNS} columns and {LEAST_LINES} lines"
        raise UsageError(msg, hint="--progress lines does without one")
    if mode == "lines" or not fits:
        return nullcontext(ProgressLines(check=check))
    from khw.live.view import LiveView

    return LiveView(console, what=what, paces=paces)


def able(console: Console) -> bool:
    """Whether the live view can be drawn there."""
    size = console.size
    terminal = console.is_terminal and not console.is_dumb_terminal
    return terminal and size.width >= LEAST_COLUMNS and size.height >= LEAST_LINES
