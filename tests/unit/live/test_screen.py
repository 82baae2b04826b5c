"""What is written to the terminal, played back on a small terminal of the test's own."""

from __future__ import annotations

import io
import re

from rich.console import Console
from rich.text import Text

from khw.live.screen import Screen


class Terminal(io.StringIO):
    """Knows what Screen uses: carriage return, line feed, cursor up, erase the rest of a line, erase below."""

    def __init__(self, columns: int = 40) -> None:
        super().__init__()
        self.lines: list[str] = [""]
        self.row = 0
        self.column = 0
        self.writes = 0

    def write(self, data: str) -> int:
        self.writes += bool(data)
        for part in re.findall(r"\x1b\[\d*[A-Z]|\x1b\[[\d;]*m|\r|\n|[^\x1b\r\n]+", data):
            self._take(part)
        return len(data)

    def _take(self, part: str) -> None:
        if part == "\r":
            self.column = 0
        elif part == "\n":
            self.row, self.column = self.row + 1, 0
            self.lines += [""] * (self.row + 1 - len(self.lines))
        elif part.endswith("A"):
            self.row -= int(part[2:-1])
            assert self.row >= 0
        elif part == "\x1b[K":
            self.lines[self.row] = self.lines[self.row][: self.column]
        elif part == "\x1b[J":
            self.lines[self.row] = self.lines[self.row][: self.column]
            del self.lines[self.row + 1 :]
        elif not part.startswith("\x1b"):
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + part + line[self.column + len(part) :]
            self.column += len(part)

    @property
    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.lines]


def screen() -> tuple[Screen, Terminal]:
    terminal = Terminal()
    return Screen(Console(file=terminal, force_terminal=True, width=40, height=10)), terminal


def texts(*lines: str) -> list[Text]:
    return [Text(line) for line in lines]


def test_a_frame_takes_the_place_of_the_one_before_it_in_one_write() -> None:
    it, terminal = screen()
    it.draw(texts("one, which is long", "two", "three"))
    it.draw(texts("1", "2"))
    assert terminal.shown == ["1", "2", ""]
    assert terminal.writes == 2


def test_what_is_told_stays_above_the_frame() -> None:
    it, terminal = screen()
    it.draw(texts("frame"))
    it.draw(texts("frame"), texts("worker-1: it failed"))
    it.draw(texts("frame"), texts("and so did worker-2"))
    assert terminal.shown == ["worker-1: it failed", "and so did worker-2", "frame", ""]


def test_what_a_ctrl_c_leaves_in_the_last_line_is_overwritten() -> None:
    it, terminal = screen()
    it.draw(texts("frame"))
    terminal.write("^C")
    it.draw(texts("frame"))
    assert terminal.shown == ["frame", ""]


def test_at_the_end_nothing_is_left_of_it() -> None:
    it, terminal = screen()
    it.draw(texts("a", "b"), texts("a notice"))
    it.clear()
    assert terminal.shown == ["a notice", ""]
    assert (terminal.row, terminal.column) == (1, 0)


def test_colours_are_left_out_with_no_color() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, no_color=True, width=40, height=10)
    Screen(console).draw([Text("red", style="red")])
    assert "\x1b[31m" not in out.getvalue()
