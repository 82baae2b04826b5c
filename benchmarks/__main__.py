"""
The benchmark's command line: `python -m benchmarks micro|chapters|page|clean`.

Samples are kept in build/bench/samples.jsonl, so that a page can be made of measurements of different days; each
carries the time and the load under which it was taken.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from benchmarks import micro
from benchmarks.clock import CaseFailedError, measure
from benchmarks.ground import PROJECT, Ground, prepare_peers

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.clock import Case, Sample

ROOT = PROJECT / "build" / "bench"


def main() -> int:
    """Parse, measure, write."""
    options = _options()
    ground = Ground(ROOT)
    steps: dict[str, Callable[[], int]] = {
        "micro": lambda: _micro(ground, options.runs, options.only),
        "clean": lambda: _clean(ground),
    }
    return steps[options.what]()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="khw beside its peers.")
    parser.add_argument("what", choices=("micro", "clean"))
    parser.add_argument("--runs", type=int, default=3, help="runs of each case (default 3)")
    parser.add_argument("--only", default="", help="only cases whose name has this in it")
    return parser.parse_args()


def _micro(ground: Ground, runs: int, only: str) -> int:
    commands = prepare_peers()
    ground.raise_lab()
    ground.write_inventories()
    cases = [case for case in micro.cases(ground, commands) if only in case.name]
    failed = [case for case in cases if not _tried(ground, case)]  # writes the files, warms the caches
    for _ in range(runs):
        for case in cases:
            if case not in failed:
                keep(ground, measure(micro.MEASUREMENT, case))
    return 1 if failed else 0


def _tried(ground: Ground, case: Case) -> bool:
    """Run a case unmeasured; say so if it does not work here."""
    del ground
    try:
        measure("warm-up", case)
    except CaseFailedError as error:
        sys.stderr.write(f"left out: {error}\n")
        return False
    return True


def _clean(ground: Ground) -> int:
    ground.end_lab()
    return 0


def keep(ground: Ground, sample: Sample) -> None:
    """Add a sample to those that are kept."""
    with (ground.root / "samples.jsonl").open("a") as samples:
        samples.write(json.dumps(sample.as_dict()) + "\n")


if __name__ == "__main__":
    sys.exit(main())
