"""Samples on disk: a measurement replaces its own older samples, so that a page never mixes two days by accident."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from benchmarks.clock import Sample
from khw.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def load(directory: Path) -> list[Sample]:
    """Return what is kept, in the order of measuring."""
    path = directory / "samples.jsonl"
    if not path.exists():
        return []
    return [Sample(**json.loads(line)) for line in path.read_text().splitlines()]


def keep(directory: Path, sample: Sample) -> None:
    """Add one."""
    with (directory / "samples.jsonl").open("a") as file:
        file.write(json.dumps(asdict(sample)) + "\n")


def forget(directory: Path, measurements: Collection[str], cases: Collection[str], round_trip: int = 0) -> None:
    """Drop the samples of these cases in these measurements at this distance."""
    left = [
        s
        for s in load(directory)
        if s.measurement not in measurements or s.case not in cases or s.round_trip != round_trip
    ]
    write_atomically(directory / "samples.jsonl", "".join(json.dumps(asdict(s)) + "\n" for s in left).encode())
