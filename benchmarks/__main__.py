"""
The benchmark's command line: `python -m benchmarks all|micro|chapters|far|crowd|page|clean`.

    micro       fifty steps that change nothing, at each distance
    chapters    fresh installs with the machines near; each is then run again and repaired, at each distance
    far         fresh installs at each distance but the near one
    crowd       a thousand machines asked, and what that takes of the operator's (no lab; root)
    page        docs/benchmarks.md, from the samples that there are
    clean       the lab is gone

A round measures every contestant once, the fastest first, so that a run that is cut off leaves whole rounds. Samples
are kept in build/bench/samples.jsonl as they come, each with the time and the load under which it was taken.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from benchmarks import chapters, micro, page, samples
from benchmarks.chapters import Distances
from benchmarks.clock import CaseFailedError, measure
from benchmarks.crowd import measuring
from benchmarks.distance import far_away
from benchmarks.ground import PROJECT, Ground, prepare_peers

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.clock import Case

ROOT = PROJECT / "build" / "bench"
PAGE = PROJECT / "docs" / "benchmarks.md"
ALL = ("micro", "chapters", "far", "crowd", "page", "clean")


def main() -> int:
    """Parse, measure, write."""
    options = _options()
    ground = Ground(ROOT)
    steps: dict[str, Callable[[], int]] = {
        "micro": lambda: _micro(ground, options),
        "chapters": lambda: _chapters(ground, options, [Distances(0, options.distance)]),
        "far": lambda: _chapters(ground, options, [Distances(far, ()) for far in options.distance if far]),
        "crowd": lambda: _crowd(ground, options),
        "page": lambda: _page(ground),
        "clean": lambda: _clean(ground),
    }
    return max(steps[name]() for name in (ALL if options.what == "all" else (options.what,)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="khw beside its peers.")
    parser.add_argument("what", choices=("all", *ALL))
    parser.add_argument("--runs", type=int, default=3, help="rounds of each measurement (default 3)")
    parser.add_argument("--distance", type=int, nargs="*", default=[0, 50, 150], help="round trips in ms (0 50 150)")
    parser.add_argument("--hosts", type=int, default=1000, help="machines of the crowd (default 1000)")
    parser.add_argument("--only", nargs="*", default=[], help="only contestants whose name has one of these in it")
    return parser.parse_args()


def _chosen(name: str, only: list[str]) -> bool:
    return not only or any(part in name for part in only)


def _micro(ground: Ground, options: argparse.Namespace) -> int:
    commands = prepare_peers()
    ground.raise_lab()
    ground.write_inventories()
    cases = [case for case in micro.cases(ground, commands) if _chosen(case.name, options.only)]
    works = [case for case in cases if _works(ground, case)]  # writes the files, too
    for far in options.distance:
        chosen = [case for case in works if not far or case.name not in micro.NOT_FAR]
        samples.forget(ground.root, {micro.MICRO}, {case.name for case in chosen}, far)
        for _ in range(options.runs):
            for case in chosen:
                ground.cut_connections()
                with far_away(ground.addresses(), far):
                    samples.keep(ground.root, measure(micro.MICRO, case, far))
    return 0 if works == cases else 1


def _works(ground: Ground, case: Case) -> bool:
    """Run a case unmeasured; say so if it does not work here."""
    ground.cut_connections()
    try:
        measure("warm-up", case)
    except CaseFailedError as error:
        sys.stderr.write(f"left out: {error}\n")
        return False
    return True


def _chapters(ground: Ground, options: argparse.Namespace, plans: list[Distances]) -> int:
    commands = prepare_peers()
    ground.raise_lab()
    chosen = [c for c in chapters.contestants(ground, commands) if _chosen(c.name, options.only)]
    names = {c.name for c in chosen}
    for plan in plans:
        samples.forget(ground.root, {chapters.FRESH}, names, plan.fresh)
        for far in plan.later:
            samples.forget(ground.root, {chapters.AGAIN, chapters.REPAIR, chapters.WHOLE}, names, far)
    failed = 0
    for _ in range(options.runs):
        for plan in plans:
            for contestant in chosen:
                try:
                    for sample in chapters.compete(ground, contestant, plan):
                        samples.keep(ground.root, sample)
                except (CaseFailedError, RuntimeError) as error:
                    sys.stderr.write(f"{contestant.name}: {error}\n")
                    failed = 1
    return failed


def _crowd(ground: Ground, options: argparse.Namespace) -> int:
    measuring.measure(ground.root, options.runs, options.hosts)
    return 0


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
