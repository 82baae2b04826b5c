"""docs/benchmarks.md: the samples as tables of ratios, with the machine, the date and the load."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import chapters, micro
from benchmarks.crowd import measuring
from benchmarks.goals import GOALS
from benchmarks.ratios import ratios, seconds_of
from khw import __version__
from khw.artifacts import lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.clock import Sample, Spread

HEAD = """\
# khw beside its peers

Made by `make bench`. Every contestant works on the same lab: six machines (three controllers, three workers), made anew
before each fresh install, with the same artifacts and the same files, which khw's tasks render once before any clock
starts. Times are of whole processes, in seconds. **Ratios are to khw: above 1, khw is the faster one.** A ratio is
taken within a round, in which every contestant runs once, one after the other; the tables give the median of the
rounds, and the least and the most. "Own CPU" is what the tool itself used on the operator's side; "load" the
one-minute load average when its runs began, which counts the clusters' own daemons and all else on the machine.
"""

TITLES = {
    chapters.FRESH: "Fresh install: from booted bare machines to CoreDNS Ready (chapters 4 to 12)",
    chapters.AGAIN: "The same once more, nothing to change",
    chapters.REPAIR: "One failed worker (its kubelet's unit is gone), put right by a run on that host",
    chapters.WHOLE: "`khw run`, all chapters, nothing to change: every host probed, machines and cluster objects asked",
    micro.MICRO: "Fifty steps that change nothing, on six hosts",
    measuring.CROWD: "A thousand machines (khw's agent behind real SSH, on this machine): every kubeconfig looked at",
}

TAIL = """\
## How it is measured

- Before a fresh install begins, the machines are booted and bare, the load balancer and the routes are there, the files
  are rendered and the artifacts are on the operator's disk. It ends when the contestant has seen CoreDNS Ready; then
  three Ready workers and both replicas of CoreDNS are asked for, or the sample does not count.
- A distance is made by a small proxy before every address that is reached over the network: each machine's SSH, the
  load balancer and the cloud's own API. It holds every byte back for half a round trip. The handshake of TCP itself is
  not held back: every tool has one round trip a connection less than it would have. The proxy takes CPU of the same
  machine.
- khw is compiled to Python's bytecode beforehand, as pip does with all that it installs, the peers among it.
- Ansible's kept connections are cut before each run, so that each begins without any, as all others do.
- Ansible (with and without mitogen): one play for all hosts with strategy free, a role for each chapter, `copy` for
  files, pipelining, six forks, no facts. pyinfra: one deploy, `--no-wait`. nornir + netmiko: `netmiko_send_command`,
  six workers. The shell script: a tar stream for each host, uncompressed, all hosts at once; it compares nothing.
- kubeadm: three controllers with stacked etcd behind the same load balancer, three workers; `kubeadm init
  --upload-certs`, then the other five join at once. Its binary is built from the same modules, its images are made of
  the same binaries and imported from archives, which stand in for a registry next door. It has the same CNI files on
  the workers, encryption at rest, kube-proxy and CoreDNS as its own addons. What is a handicap: the control plane needs
  a container runtime on the controllers, images are imported, and its certificates (RSA) are made within the time,
  while the others' are issued before. What is a gift: no audit log, one member of etcd to begin with, no comparing, and
  a script that leaves a host alone once it has joined.

## What it does not say

- A dash, or a distance without a column, was not measured this time; "runs" counts the rounds at each distance. Three
  rounds of everything at every distance take hours.
- The machines and the tools share the cores above: copying is bound by CPU (encryption), not by a network.
- Machines of the lab are containers of systemd's kind; a cloud's machines boot and write more slowly, for all alike.
- The shell script has no such thing as a run without changes: it copies everything again.

## Once more

    make bench                                              # all of it
    .venv/bin/python -m benchmarks micro --runs 3           # one measurement; --distance 0 150, --only khw ansible
    .venv/bin/python -m benchmarks page                     # the page, from the samples that there are
"""


def render(samples: Sequence[Sample], peers: Path) -> str:
    """Return the page."""
    told: set[str] = set()
    sections = [section(title, [s for s in samples if s.measurement == name], told) for name, title in TITLES.items()]
    parts = [HEAD, _machine(samples, peers), _goals(samples), *sections, TAIL]
    return "\n".join(part for part in parts if part)


def _machine(samples: Sequence[Sample], peers: Path) -> str:
    loads = [s.load for s in samples] or [0.0]
    days = sorted({s.at[:10] for s in samples}) or [datetime.now(UTC).date().isoformat()]
    rows = (
        f"measured on {' and '.join(days)}",
        f"{os.cpu_count()} cores, {_memory()} GiB of memory, Linux {platform.release()}",
        f"khw {__version__} on Python {platform.python_version()}; {', '.join(_versions(peers))}",
        f"load when a run began: {min(loads):.1f} to {max(loads):.1f}",
    )
    return "".join(f"- {row}\n" for row in rows)


def _memory() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30))


def _versions(peers: Path) -> list[str]:
    """Return the peers' versions, those of khw's own environment, and of what is installed."""
    own, theirs = ("nornir==", "nornir-netmiko=", "netmiko="), ("ansible-core", "pyinfra=", "mitogen=")
    pinned = [f"{name} {lock.entry(name).version}" for name in ("kubelet", "etcd", "containerd")]
    kubernetes = [f"Kubernetes and kubeadm {lock.entry('kubelet').version}", *pinned[1:]]
    return [*_listed(peers, theirs), *_listed(Path(sys.executable).parent, own), *kubernetes]


def _listed(commands: Path, wanted: tuple[str, ...]) -> list[str]:
    command = [str(commands / "python"), "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.replace("==", " ") for line in listed.splitlines() if line.startswith(wanted)]


def _goals(samples: Sequence[Sample]) -> str:
    rows = [row for row in (goal.row(samples) for goal in GOALS) if row]
    return _table(("what khw promises", "measured", "kept"), "lrl", rows, "What was promised") if rows else ""


def section(title: str, samples: Sequence[Sample], told: set[str]) -> str:
    """Return a measurement: a row for each contestant, for each distance a ratio and the seconds; notes not told."""
    if not samples:
        return ""
    names = list(dict.fromkeys(s.case for s in samples))
    distances = sorted({s.round_trip for s in samples})
    compared = len(names) > 1
    heads = [""]
    for far in distances:
        heads += [*([f"ratio at {far} ms"] if compared else []), f"seconds at {far} ms"]
    rows = []
    for name in names:
        row = [name]
        for far in distances:
            at = [s for s in samples if s.round_trip == far]
            row += [*([_spread(ratios(at, name), 1)] if compared else []), _spread(seconds_of(at, name), 2)]
        rows.append((*row, _cpu(name, samples), _runs(name, samples, distances), _load(name, samples)))
    heads += ["own CPU", "runs", "load"]
    notes = {s.case: s.note for s in samples if s.note and s.case not in told}
    told.update(notes)
    return "\n".join([_table(heads, "l" + "r" * (len(heads) - 1), rows, title), *starmap(_note, notes.items()), ""])


def _note(name: str, note: str) -> str:
    return f"- {name}: {note}"


def _spread(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return "-"
    median, least, most = (f"{value:.{digits}f}" for value in (spread.median, spread.least, spread.most))
    return f"**{median}** ({least} to {most})" if spread.runs > 1 else f"**{median}**"


def _cpu(name: str, samples: Sequence[Sample]) -> str:
    """Return the seconds of CPU of a case, at the least distance that it was measured at."""
    nearest = min(s.round_trip for s in samples if s.case == name)
    return f"{statistics.median(s.cpu for s in samples if s.case == name and s.round_trip == nearest):.1f}"


def _load(name: str, samples: Sequence[Sample]) -> str:
    loads = [s.load for s in samples if s.case == name]
    return f"{min(loads):.0f} to {max(loads):.0f}"


def _runs(name: str, samples: Sequence[Sample], distances: Sequence[int]) -> str:
    return " · ".join(str(sum(s.case == name and s.round_trip == far for s in samples)) for far in distances)


def _table(heads: Sequence[str], align: str, rows: Sequence[Sequence[str]], title: str) -> str:
    rules = [{"l": "--", "r": "--:"}[side] for side in align]
    lines = [heads, rules, *rows]
    return "\n".join([f"## {title}\n", *("| " + " | ".join(line) + " |" for line in lines), ""])
