"""
The benchmark's command line: `python -m benchmarks all|micro|far|chapters|page|clean`.

Samples are kept in build/bench/samples.jsonl, each with the time and the load under which it was taken; the page is
made of them.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from benchmarks import chapters, micro, page, samples
from benchmarks.clock import CaseFailedError, measure
from benchmarks.distance import far_away
from benchmarks.ground import PROJECT, Ground, prepare_peers

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.clock import Case

ROOT = PROJECT / "build" / "bench"
PAGE = PROJECT / "docs" / "benchmarks.md"


def main() -> int:
    """Parse, measure, write."""
    options = _options()
    ground = Ground(ROOT)
    steps: dict[str, Callable[[], int]] = {
        "micro": lambda: _micro(ground, options.runs, options.only),
        "far": lambda: _far(ground, options.runs, options.only),
        "chapters": lambda: _chapters(ground, options.runs, options.only),
        "page": lambda: _page(ground),
        "clean": lambda: _clean(ground),
    }
    chosen = ("micro", "far", "chapters", "page", "clean") if options.what == "all" else (options.what,)
    return max(steps[name]() for name in chosen)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="khw beside its peers.")
    parser.add_argument("what", choices=("all", "micro", "far", "chapters", "page", "clean"))
    parser.add_argument("--runs", type=int, default=3, help="runs of each case (default 3)")
    parser.add_argument("--only", nargs="*", default=[], help="only cases whose name has one of these in it")
    return parser.parse_args()


def _micro(ground: Ground, runs: int, only: list[str]) -> int:
    commands = prepare_peers()
    ground.raise_lab()
    ground.write_inventories()
    cases = [case for case in micro.cases(ground, commands) if _chosen(case.name, only)]
    works = [case for case in cases if _works(case)]  # writes the files, too
    _repeat(ground, micro.NEAR, works, runs)
    return 0 if works == cases else 1


def _far(ground: Ground, runs: int, only: list[str]) -> int:
    commands = prepare_peers()
    ground.raise_lab()
    machines = ground.write_inventories()
    cases = [c for c in micro.cases(ground, commands) if c.name not in micro.NOT_FAR and _chosen(c.name, only)]
    works = [case for case in cases if _works(case)]
    try:
        for measurement, round_trip in micro.FAR.items():
            with far_away(machines, round_trip) as distant:
                ground.write_as(distant)
                _repeat(ground, measurement, works, runs)
    finally:
        ground.write_as(machines)
    return 0 if works == cases else 1


def _chosen(name: str, only: list[str]) -> bool:
    return not only or any(part in name for part in only)


def _repeat(ground: Ground, measurement: str, cases: list[Case], runs: int) -> None:
    samples.forget(ground.root, {measurement}, {case.name for case in cases})
    for _ in range(runs):
        for case in cases:
            samples.keep(ground.root, measure(measurement, case))


def _works(case: Case) -> bool:
    """Run a case unmeasured; say so if it does not work here."""
    try:
        measure("warm-up", case)
    except CaseFailedError as error:
        sys.stderr.write(f"left out: {error}\n")
        return False
    return True


def _chapters(ground: Ground, runs: int, only: list[str]) -> int:
    commands = prepare_peers()
    ground.raise_lab()
    chosen = [c for c in chapters.contestants(ground, commands) if _chosen(c.name, only)]
    measurements = {chapters.FRESH, chapters.AGAIN, chapters.REPAIR}
    samples.forget(ground.root, measurements, {c.name for c in chosen})
    failed = 0
    for _ in range(runs):
        for contestant in chosen:
            try:
                for sample in chapters.compete(ground, contestant):
                    samples.keep(ground.root, sample)
            except (CaseFailedError, RuntimeError) as error:
                sys.stderr.write(f"{contestant.name}: {error}\n")
                failed = 1
    return failed


def _page(ground: Ground) -> int:
    text = page.render(samples.load(ground.root), prepare_peers())
    PAGE.write_text(text)
    sys.stdout.write(text)
    return 0


def _clean(ground: Ground) -> int:
    ground.end_lab()
    return 0


if __name__ == "__main__":
    sys.exit(main())
