"""docs/benchmarks.md: the samples as tables, with the machine, the date and the load."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import chapters, micro
from benchmarks.clock import Spread
from khw import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.clock import Sample

HEAD = """\
# khw beside its peers

Made by `make bench`; every contestant works on the same lab (six machines, made anew before each fresh install), with
the same artifacts and the same files, which khw's tasks render once before any clock starts. Times are of whole
processes. The ratio is the contestant's median to khw's: above 1, khw is the faster one. "Own CPU" is what the tool
used on the operator's side (median); it says more than the clock where the machine was busy with other things.
"""

TITLES = {
    chapters.FRESH: "Fresh install: from booted bare machines to CoreDNS Ready (chapters 4 to 12)",
    chapters.AGAIN: "The same once more, nothing to change",
    chapters.REPAIR: "One failed worker (its kubelet's unit is gone), put right by a run on that host",
    micro.NEAR: "Fifty steps that change nothing, on six hosts",
    "micro at 50 ms": "The fifty steps at 50 ms of round trip",
    "micro at 150 ms": "The fifty steps at 150 ms of round trip",
}

TAIL = """\
## What this does not say

- The machines and the tools share the cores above: copying is bound by CPU (encryption), not by a network.
- The round trips of 50 and 150 ms are made by a small proxy in front of each SSH port; the chapters are measured
  without.
- kubeadm is not among them: it does not do these chapters (static pods, its own certificates), and needs a registry.
- mitogen is not either: with this ansible-core its strategy loads, and the tasks still go through Ansible's own SSH.
- The shell script compares nothing, so it has no such thing as a no-change run: it copies everything again.
"""


def render(samples: Sequence[Sample], peers: Path) -> str:
    """Return the page."""
    parts = [HEAD, _machine(samples, peers)]
    parts += [_table(title, [s for s in samples if s.measurement == name]) for name, title in TITLES.items()]
    return "\n".join([*(part for part in parts if part), TAIL])


def _machine(samples: Sequence[Sample], peers: Path) -> str:
    loads = [s.load for s in samples] or [0.0]
    days = sorted({s.at[:10] for s in samples}) or [datetime.now(UTC).date().isoformat()]
    rows = (
        f"measured on {' and '.join(days)}",
        f"{os.cpu_count()} cores, {_memory()} GiB of memory, Linux {platform.release()}",
        f"khw {__version__} on Python {platform.python_version()}; {', '.join(_versions(peers))}",
        f"one-minute load average when a run began: {min(loads):.1f} to {max(loads):.1f}; it counts the cluster's own "
        "daemons and whatever else this machine was doing",
    )
    return "".join(f"- {row}\n" for row in rows)


def _memory() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30))


def _versions(peers: Path) -> list[str]:
    listed = subprocess.run([str(peers / "pip"), "list", "--format=freeze"], capture_output=True, text=True, check=True)
    return [
        line.replace("==", " ") for line in listed.stdout.splitlines() if line.startswith(("ansible-core", "pyinfra="))
    ]


def _table(title: str, samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    names = list(dict.fromkeys(s.case for s in samples))
    spreads = {name: Spread.of([s.seconds for s in samples if s.case == name]) for name in names}
    loads = {name: [s.load for s in samples if s.case == name] for name in names}
    ours = next((spreads[name] for name in names if name in {"khw", micro.KHW}), None)
    rows = [
        f"## {title}\n",
        "| | ratio | median s | min s | max s | own CPU s | runs | load |",
        "|--|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, spread in spreads.items():
        ratio = f"{spread.median / ours.median:.1f}" if ours else "-"
        load = f"{min(loads[name]):.1f} to {max(loads[name]):.1f}"
        times = " | ".join(f"{seconds:.2f}" for seconds in (spread.median, spread.least, spread.most))
        rows.append(f"| {name} | {ratio} | {times} | {_cpu(name, samples)} | {spread.runs} | {load} |")
    notes = {s.case: s.note for s in samples if s.note}
    return "\n".join([*rows, "", *(f"- {name}: {note}" for name, note in notes.items()), ""])


def _cpu(name: str, samples: Sequence[Sample]) -> str:
    known = [s.cpu for s in samples if s.case == name and s.cpu]
    return f"{Spread.of(known).median:.1f}" if known else "-"
