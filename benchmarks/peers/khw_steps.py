"""
The micro measurement for khw: fifty File resources on every node, through khw's own engine, as `khw run` does it.

    python khw_steps.py KHW_YAML together|apart

`together` is khw's way: one phase, so one exchange a host. `apart` makes fifty phases of one resource each.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from khw.converge.resources import File
from khw.imports import own_process
from khw.interrupt import vanish
from khw.session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource
    from khw.engine.phases import Phase, Task

STEPS = 50


def step(number: int) -> File:
    """Return one file of about a kilobyte."""
    return File(path=f"/etc/khw-bench-{number}", content=f"# step {number}\n" * 80)


def files(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
    """Yield all fifty."""
    del node, cluster, pki
    yield from (step(number) for number in range(STEPS))


def only(number: int) -> Task:
    """Return the task that asks for one of them."""

    def task(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
        del node, cluster, pki
        yield step(number)

    return task


def phases(how: str) -> tuple[Phase, ...]:
    """Return the fifty steps as one phase, or as fifty."""
    from khw.engine.phases import ON_NODES, Phase

    if how == "together":
        return (Phase(name="steps", chapter=1, title="fifty files", roles=ON_NODES, task=files),)
    return tuple(
        Phase(name=f"step-{n}", chapter=1, title="one file", roles=ON_NODES, task=only(n)) for n in range(STEPS)
    )


def main() -> int:
    """Do the steps, and say what they came to."""
    session = open_session(Path(sys.argv[1]))
    session.begin_logins()  # as `khw run` does, before all else is imported

    from khw.engine.engine import Plan

    report = session.run(Plan(phases=phases(sys.argv[2])), sinks=[], what="bench").report
    unchanged = sum(len(result.changes) - result.changed for result in report.results)
    sys.stdout.write(f"{unchanged} unchanged, {report.changed} changed, {report.round_trips} round trips\n")
    for result in report.results:
        if result.error:
            sys.stdout.write(f"{result.host} {result.phase}: {result.error}\n")
    return report.exit_code


if __name__ == "__main__":
    own_process()
    vanish(main())  # as the installed `khw` does
