"""What a distribution is to khw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """
    A distribution, from its `oldest` release on.

    `name` is its ID in /etc/os-release; `packages` maps Debian's names of packages to its own, where they differ.
    """

    name: str
    title: str
    oldest: str
    packages: Mapping[str, str] = field(default_factory=dict)

    def has(self, release: str) -> bool:
        """Whether a VERSION_ID is the oldest or later; a release without one (testing) is later than all."""
        return not release or _number(release) >= _number(self.oldest)


def _number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split(".") if part.isdigit())
