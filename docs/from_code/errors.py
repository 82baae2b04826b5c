"""Exit codes and errors, from the command line's own words and the tree of errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from from_code.markdown import table, what_for
from khw.cli import main as cli
from khw.errors import KhwError

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """\
# Errors and exit codes

Every error that khw raises on purpose names the thing and the host, says what was expected and seen, and what to do
next (after `→`). It goes to stderr. Where a unit failed, the last lines of its journal are with it.

## Exit codes
"""


def page() -> str:
    """Return the page."""
    codes = table(("exit code", "means"), exit_codes())
    errors = table(("error", "exit code", "what it is"), _rows(KhwError, 0))
    return f"{HEAD}\n{codes}\n\n## Errors\n\nThe tree of `khw.errors`, for who uses khw from Python.\n\n{errors}\n"


def exit_codes() -> list[tuple[str, str]]:
    """Return each exit code and what it means, as the command line's module says it."""
    told = re.search(r"Exit codes: (.*?)\.", (cli.__doc__ or "").replace("\n", " "))
    if not told:
        msg = "khw.cli.main no longer says its exit codes"
        raise ValueError(msg)
    return [(code, text) for part in told[1].split("·") for code, _, text in [part.strip().partition(" ")]]


def _rows(error: type[KhwError], depth: int) -> Iterator[tuple[str, str, str]]:
    yield "\u2003" * depth + f"`{error.__name__}`", str(error.exit_code), what_for(error)
    for child in error.__subclasses__():
        yield from _rows(child, depth + 1)
