"""What khw promises of itself, beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import chapters, micro
from benchmarks.crowd import measuring
from benchmarks.ratios import ratios, seconds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.clock import Sample


@dataclass(frozen=True, slots=True)
class Goal:
    """A promise: a ratio of at least `least`, or seconds below `below`, as the median of the rounds."""

    text: str
    measurement: str
    case: str
    round_trip: int = 0
    least: float = 0.0
    below: float = 0.0

    def row(self, samples: Sequence[Sample]) -> tuple[str, str, str] | None:
        """Return the promise, the median with least and most, and whether it is kept; None if it was not measured."""
        ours = [s for s in samples if s.measurement == self.measurement and s.round_trip == self.round_trip]
        spread = seconds_of(ours, self.case) if self.below else ratios(ours, self.case)
        if spread is None:
            return None
        kept = spread.median < self.below if self.below else spread.median >= self.least
        unit = " s" if self.below else " times"
        return (
            self.text,
            f"{spread.median:.2f}{unit} ({spread.least:.2f} to {spread.most:.2f})",
            "yes" if kept else "no",
        )


GOALS = (
    Goal("a fresh install is no slower than the shell script's", chapters.FRESH, "shell script", least=1),
    Goal("and at least 3 times as fast as Ansible's", chapters.FRESH, "ansible", least=3),
    Goal("fifty steps: at least 10 times as fast as Ansible's raw tasks", micro.MICRO, micro.RAW, least=10),
    Goal("5 times as nornir + netmiko commands", micro.MICRO, micro.NORNIR, least=5),
    Goal("4 times as pyinfra", micro.MICRO, micro.PYINFRA, least=4),
    Goal("`khw run` without a change: below 2 s near", chapters.WHOLE, "khw", below=2),
    Goal("and below 4 s at 150 ms", chapters.WHOLE, "khw", round_trip=150, below=4),
    Goal("a thousand machines probed: below 30 s", measuring.CROWD, measuring.KHW, below=30),
)
