"""What a source hands over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from khw.artifacts.lock import Entry
    from khw.artifacts.progress import Progress


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file in the scratch directory, checked by its source, and where it came from."""

    path: Path
    origin: str
    upstream_digest: str = ""


class Source(Protocol):
    """Where artifacts come from."""

    @property
    def name(self) -> str:
        """upstream, mirror or build."""

    def fetch(self, entry: Entry, architecture: str, scratch: Path, progress: Progress) -> Fetched:
        """Bring one artifact into `scratch`, checked, or raise an ArtifactError."""
