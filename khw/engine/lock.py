"""The operator's lock: two runs on one cluster cannot overlap; a dead owner's lock is free."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from khw.errors import LockedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
    """
    Hold the lock file while the block runs; raise `LockedError` naming the owner if another process does.

    The kernel drops a dead owner's lock, so there is nothing to clean up; the file's text only names the owner.
    """
    with path.open("a+") as file:
        _take(file)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "what": what, "since": datetime.now(UTC).isoformat()}))
        file.flush()
        yield


def require_free(path: Path) -> None:
    """Raise `LockedError` if a process holds the lock file; nothing is written, and nobody kept from holding it."""
    if path.exists():
        with path.open() as file:
            _take(file)


def holder(path: Path) -> str:
    """Return who holds the lock file, in words; '' if nobody does."""
    try:
        require_free(path)
    except LockedError as error:
        return error.message
    return ""


def _take(file: TextIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise LockedError(
            f"another run holds this cluster: {_owner(file.read())}",
            hint="wait for it to end; if it hangs, end that process and run again",
        ) from None


def _owner(text: str) -> str:
    try:
        owner = json.loads(text)
        return f"process {owner['pid']}, {owner['what']}, since {owner['since']}"
    except (ValueError, KeyError, TypeError):
        return "its owner has not said who it is yet"
