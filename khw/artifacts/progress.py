"""What a source says while it works: one line of text at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str], None]


def silent(line: str) -> None:
    """Say nothing."""


def megabytes(size: int) -> str:
    """Return a size as people read it."""
    return f"{size / 1_000_000:.0f} MB" if size >= 1_000_000 else f"{size:,} bytes"
