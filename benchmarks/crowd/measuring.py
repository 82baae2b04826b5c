"""
A thousand machines asked: how long it takes, and what it takes of the operator's machine.

First khw installs their certificates and kubeconfigs; then each round looks at all kubeconfigs again, as khw's own
command and as a Nornir script with each of khw's runners. Crowd and khw share the cores: the crowd's CPU is noted.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import samples
from benchmarks.clock import CaseFailedError, Sample
from benchmarks.crowd.village import crowd
from benchmarks.crowd.watched import watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.crowd.village import Village
    from benchmarks.crowd.watched import Watched

CROWD = "crowd"
KHW = "khw"
INSTALL = "khw, a first time: certificates and kubeconfigs installed"
PROBED = ("--phase", "kubeconfigs")
INSTALLED = ("--phase", "certificates", *PROBED)


def measure(root: Path, runs: int, hosts: int) -> None:
    """Measure `runs` rounds on so many machines, and keep the samples."""
    khw = str(Path(sys.executable).with_name("khw"))
    with crowd(root / "crowd", hosts) as village:
        file = str(village.cluster_file)
        script = (sys.executable, "-m", "benchmarks.crowd.spread", file)
        rounds = {
            KHW: (khw, "-f", file, "run", *PROBED, "-o", "json"),
            "a Nornir script, runner khw_lanes": (*script, "khw_lanes"),
            "a Nornir script, runner khw_dask with 2 processes": (*script, "khw_dask"),
        }
        samples.forget(root, {CROWD}, {INSTALL, *rounds}, 0)
        _keep(root, village, INSTALL, (khw, "-f", file, "run", *INSTALLED, "-o", "json"))
        for _ in range(runs):
            for case, command in rounds.items():
                _keep(root, village, case, command)


def _keep(root: Path, village: Village, case: str, command: Sequence[str]) -> None:
    load, at = os.getloadavg()[0], datetime.now(UTC).isoformat(timespec="seconds")
    before = village.cpu()
    seen = watch(command, root)
    front, agents = (now - then for now, then in zip(village.cpu(), before, strict=True))
    _judge(case, seen)
    note = (
        f"at most {seen.memory:.0f} MB, {seen.threads} threads, {seen.descriptors} descriptors; "
        f"{front + agents:.1f} s of CPU on the crowd's side"
    )
    sys.stderr.write(f"{CROWD:<14}{case:<60}{seen.seconds:8.2f} s   load {load:.1f}   {note}\n")
    seconds, cpu = round(seen.seconds, 3), round(seen.cpu, 3)
    samples.keep(root, Sample(measurement=CROWD, case=case, seconds=seconds, load=load, at=at, note=note, cpu=cpu))


def _judge(case: str, seen: Watched) -> None:
    """Raise if not every machine was asked, or one that had to change nothing changed something."""
    if seen.code:
        msg = f"{case}: exit code {seen.code}\n{seen.out[-2000:].decode(errors='replace')}"
        raise CaseFailedError(msg)
    if case == KHW and (changed := json.loads(seen.out)["changed"]):
        msg = f"{case}: {changed} resources changed, and none should have"
        raise CaseFailedError(msg)
