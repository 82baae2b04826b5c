"""
The lines at the bottom of a terminal that are drawn again and again.

A frame is written over the one before it, in one write and without erasing first, so that nothing flickers; what is to
stay is printed above it. The cursor stands under the frame and is never hidden: a process that is killed leaves a
terminal as it should be. (rich's Live erases each line before it writes it, and hides the cursor.)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.text import Text

UP = "\x1b[{}A"
REST_OF_LINE = "\x1b[K"
BELOW = "\x1b[J"


class Screen:
    """The foot of the console's terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn: list[int] = []  # the widths of the lines that are there

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        return self._console.size.width, self._console.size.height

    def draw(self, lines: Sequence[Text], above: Iterable[Text] = ()) -> None:
        """Put these lines in the place of those that are there; `above` stays, before them."""
        stays = [self._render(text) for text in above]
        frame = [self._render(line) for line in lines]
        written = "".join(f"{text}{REST_OF_LINE}\n" for text in (*stays, *frame))
        self._write(f"{self._home()}{written}{BELOW}")
        self._drawn = [line.cell_len for line in lines]

    def clear(self) -> None:
        """Take the frame away."""
        if self._drawn:
            self._write(f"{self._home()}{BELOW}")
            self._drawn = []

    def abandon(self) -> None:
        """Take the frame away from within a signal handler: no lock, no buffer, no error."""
        try:
            os.write(self._console.file.fileno(), f"{self._home()}{BELOW}".encode())
        except (OSError, ValueError):
            return

    def _home(self) -> str:
        """Return the way to the start of the frame; lines that a narrower terminal has wrapped count as many."""
        columns = max(1, self._console.size.width)
        rows = sum(max(1, -(-width // columns)) for width in self._drawn)
        return "\r" + (UP.format(rows) if rows else "")

    def _render(self, text: Text) -> str:
        with self._console.capture() as capture:
            self._console.print(text, soft_wrap=True, end="")
        return capture.get()

    def _write(self, data: str) -> None:
        self._console.file.write(data)
        self._console.file.flush()
