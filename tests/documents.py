"""
What the documents tell a reader to type, and what they show of it.

Read by the tests alone: a command that is in a document is run (tests/lab/test_documents.py), or its block says why it
is not. The conventions:

    ```sh                         lines to type, nothing shown
    ```console                    `$ ` and a command, then what it prints; `controller-0$ ` is typed on that node
    # exit code 3                 at a command's end: it ends so, and not with 0
    …                             in what is shown: something is left out
    <!-- not run: REASON -->      before a block: the tests only parse it
    <!-- file: NAME -->           before a block: it is what that file is to say
    <!-- edit: NAME -->           before a ```diff: how that file is changed
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Records of what was true when they were written, and what others make and test
RECORDS = {DOCS / "decisions", DOCS / "changes.md", DOCS / "benchmarks.md", DOCS / "drills.md"}
FENCE = re.compile(r"^(?P<fence>`{3,}|:{3,})(?P<language>\S*).*$")
MARK = re.compile(r"^<!-- (?P<kind>[a-z ]+): (?P<text>.*) -->$")
PROMPT = re.compile(r"^(?P<node>[a-z][-a-z0-9]*)?\$ (?P<command>.*)$")
EXIT_CODE = re.compile(r"# exit code (\d+)")


@dataclass(frozen=True)
class Step:
    """A command, where it is typed ('' is here, else a node), how it ends and what is shown of what it prints."""

    command: str
    line: int
    node: str = ""
    shown: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        found = EXIT_CODE.search(self.command)
        return int(found[1]) if found else 0


@dataclass(frozen=True)
class Block:
    """A fenced block, and the mark before it: what `kind` of mark, and its text."""

    page: Path
    line: int
    language: str
    text: str
    kind: str = ""
    mark: str = ""

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def steps(self) -> tuple[Step, ...]:
        if self.language not in {"sh", "console"}:
            return ()
        return tuple(_steps(self))


def pages() -> list[Path]:
    """Return the README, and every page of the docs that is written by hand, in reading order."""
    found = sorted(
        path
        for path in DOCS.rglob("*.md")
        if not {path, *path.parents} & RECORDS and not {"from-code", "_build"} & set(path.parts)
    )
    order = {"tutorial": 1, "how-to": 2}
    return [ROOT / "README.md", *sorted(found, key=lambda path: (order.get(path.parent.name, 3), path))]


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    return list(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    kind = mark = ""
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    for number, line in lines:
        if marked := MARK.match(line):
            kind, mark = marked["kind"], marked["text"]
        elif fence := FENCE.match(line):
            inside = []
            for _, row in lines:
                if row.rstrip() == fence["fence"]:
                    break
                inside.append(row)
            yield Block(page, number, fence["language"], "\n".join(inside) + "\n", kind, mark)
            kind = mark = ""
        elif line.strip():
            kind = mark = ""


def _steps(block: Block) -> Iterator[Step]:
    rows = [(number, row) for number, row in enumerate(block.text.splitlines(), block.line + 1)]
    while rows:
        number, row = rows.pop(0)
        node = ""
        if block.language == "console":
            prompt = PROMPT.match(row)
            if not prompt:
                msg = f"{block.name}: a console block begins with a prompt, not with {row!r}"
                raise ValueError(msg)
            node, row = prompt["node"] or "", prompt["command"]
        elif not row.strip() or row.startswith("#"):
            continue
        while row.endswith("\\"):
            row += "\n" + rows.pop(0)[1]
        shown = []
        while block.language == "console" and rows and not PROMPT.match(rows[0][1]):
            shown.append(rows.pop(0)[1])
        yield Step(row, number, node, tuple(shown))


def missing(shown: tuple[str, ...], printed: str) -> str | None:
    """Return the first line that is shown and was not printed, after those before it; None if all were."""
    rows = [" ".join(row.split()) for row in printed.splitlines()]
    for line in shown:
        words = " ".join(line.split())
        if words in {"", "…"}:
            continue
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in words.split("…")))
        while rows and not pattern.fullmatch(rows[0]):
            rows.pop(0)
        if not rows:
            return line
        rows.pop(0)
    return None
