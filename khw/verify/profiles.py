"""The profiles of `khw verify`: whether the cluster works (khw), and how it stands by the CIS benchmark (cis)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from khw.verify import table
from khw.verify.cis import profile as cis

if TYPE_CHECKING:
    from khw.verify.check import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A set of checks: how they are chosen by name, and whether causes are sought behind those that fail."""

    suite: str  # what JUnit calls it
    select: Callable[[Sequence[str]], tuple[Check, ...]]
    diagnosed: bool


PROFILES = {
    "khw": Profile(suite="khw verify", select=table.select, diagnosed=True),
    "cis": Profile(suite=f"{cis.NAME} {cis.VERSION}", select=cis.select, diagnosed=False),
}
