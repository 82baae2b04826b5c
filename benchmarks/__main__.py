"""
The benchmark's command line: `python -m benchmarks all|micro|chapters|crowd|page|clean`.

    micro       fifty steps that change nothing
    chapters    fresh installs; each is then run again and repaired
    crowd       a thousand machines asked, and what that takes of the operator's (no lab; root)
    page        docs/benchmarks.md, from the samples that there are
    clean       the lab is gone

Both are measured at each distance (--distance), the nearest first. A round measures every contestant once, the fastest
first, so that a run that is cut off leaves whole rounds. Samples are kept in build/bench/samples.jsonl as they come,
each with the time and the load under which it was taken.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import TYPE_CHECKING

from benchmarks import chapters, micro, page, samples
from benchmarks.clock import CaseFailedError, measure
from benchmarks.crowd import measuring
from benchmarks.distance import DISTANCES, far_away
from benchmarks.ground import PROJECT, Ground, prepare_peers

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.clock import Case, Sample

ROOT = PROJECT / "build" / "bench"
PAGE = PROJECT / "docs" / "benchmarks.md"
ALL = ("micro", "chapters", "crowd", "page", "clean")


def main() -> int:
    """Parse, measure, write."""
    options = _options()
    ground = Ground(ROOT)
    steps: dict[str, Callable[[], int]] = {
        "micro": lambda: _micro(ground, options),
        "chapters": lambda: _chapters(ground, options),
        "crowd": lambda: _crowd(ground, options),
        "page": lambda: _page(ground),
        "clean": lambda: _clean(ground),
    }
    return max(steps[name]() for name in (ALL if options.what == "all" else (options.what,)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="khw beside its peers.")
    parser.add_argument("what", choices=("all", *ALL))
    parser.add_argument("--runs", type=int, default=3, help="rounds of each measurement (default 3)")
    parser.add_argument("--distance", type=int, nargs="*", default=DISTANCES, help="round trips in ms")
    parser.add_argument("--hosts", type=int, default=1000, help="machines of the crowd (default 1000)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin with no contestant after so many")
    parser.add_argument("--add", action="store_true", help="further rounds: what was measured before stays")
    parser.add_argument("--only", nargs="*", default=[], help="only contestants whose name has one of these in it")
    parser.add_argument("--without", nargs="*", default=[], help="and none whose name has one of these in it")
    return parser.parse_args()


def _chosen(name: str, options: argparse.Namespace) -> bool:
    wanted = not options.only or any(part in name for part in options.only)
    return wanted and not any(part in name for part in options.without)


def _micro(ground: Ground, options: argparse.Namespace) -> int:
    commands = prepare_peers()
    ground.raise_lab()
    ground.write_inventories()
    left_out = () if 0 in options.distance else micro.NOT_FAR
    cases = [c for c in micro.cases(ground, commands) if _chosen(c.name, options) and c.name not in left_out]
    works = [case for case in cases if _measured(ground, "warm-up", case)]  # writes the files, too
    end = time.monotonic() + options.minutes * 60
    for far in options.distance:
        chosen = [case for case in works if not far or case.name not in micro.NOT_FAR]
        if not options.add:
            samples.forget(ground.root, {micro.MICRO}, {case.name for case in chosen}, far)
        for _ in range(options.runs):
            for case in chosen:
                if time.monotonic() > end:
                    return 1
                sample = _measured(ground, micro.MICRO, case, far)
                if sample:
                    samples.keep(ground.root, sample)
    return 0 if works == cases else 1


def _measured(ground: Ground, measurement: str, case: Case, far: int = 0) -> Sample | None:
    """Measure a case; None, and a word about it, if it does not work here."""
    ground.cut_connections()
    try:
        with far_away(ground.addresses(), far):
            return measure(measurement, case, far)
    except CaseFailedError as error:
        sys.stderr.write(f"left out: {error}\n")
        return None


def _chapters(ground: Ground, options: argparse.Namespace) -> int:
    commands = prepare_peers()
    ground.raise_lab()
    chosen = [c for c in chapters.contestants(ground, commands) if _chosen(c.name, options)]
    failed, end = 0, time.monotonic() + options.minutes * 60
    for far in options.distance:
        if not options.add:
            _forget_chapters(ground, {c.name for c in chosen}, far)
        for _ in range(options.runs):
            for contestant in chosen:
                if time.monotonic() > end:
                    return failed
                try:
                    for sample in chapters.compete(ground, contestant, far):
                        samples.keep(ground.root, sample)
                except (CaseFailedError, RuntimeError) as error:
                    sys.stderr.write(f"{contestant.name}: {error}\n")
                    failed = 1
    return failed


def _crowd(ground: Ground, options: argparse.Namespace) -> int:
    measuring.measure(ground.root, options.runs, options.hosts)
    return 0


def _forget_chapters(ground: Ground, names: set[str], far: int) -> None:
    samples.forget(ground.root, chapters.MEASUREMENTS, names, far)
    for whole in DISTANCES if not far else ():
        samples.forget(ground.root, {chapters.WHOLE}, names, whole)


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
