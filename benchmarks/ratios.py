"""Ratios within a round: each sample of a contestant to khw's sample of the same round, which came before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import micro
from benchmarks.clock import Spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.clock import Sample

KHW = ("khw", micro.KHW)
"""What is compared with, by its name as a contestant or as a case: the first of each round."""


def ratios(samples: Sequence[Sample], case: str) -> Spread | None:
    """Return the spread of a case's ratios to khw; the samples are one measurement's at one distance, in order."""
    found: list[float] = []
    ours = 0.0
    for sample in samples:
        if sample.case in KHW:
            ours = sample.seconds
        if sample.case == case and ours:
            found.append(sample.seconds / ours)
    return Spread.of(found) if found else None


def seconds_of(samples: Sequence[Sample], case: str) -> Spread | None:
    """Return the spread of a case's times; the samples are one measurement's at one distance."""
    found = [sample.seconds for sample in samples if sample.case == case]
    return Spread.of(found) if found else None
