"""The profiles of `khw verify`: whether the cluster works (khw), and how it stands by the CIS benchmark (cis)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from khw.verify import table
from khw.verify.cis import profile as cis

if TYPE_CHECKING:
    from pathlib import Path

    from khw.cluster.workspace import Workspace
    from khw.verify.check import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A set of checks: how they are chosen, whether causes are sought behind those that fail, where it is kept."""

    suite: str  # what JUnit calls it
    select: Callable[[Sequence[str]], tuple[Check, ...]]
    diagnosed: bool
    kept: Callable[[Workspace], Path]


PROFILES = {
    "khw": Profile(suite="khw verify", select=table.select, diagnosed=True, kept=lambda it: it.verified),
    "cis": Profile(
        suite=f"{cis.NAME} {cis.VERSION}", select=cis.select, diagnosed=False, kept=lambda it: it.benchmarked
    ),
}
