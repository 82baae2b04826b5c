"""docs/drills.md, made from the table of drills: the list, each story, and its hints folded away."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from khw.drills.drill import ETCDCTL
from khw.drills.table import DRILLS

if TYPE_CHECKING:
    from khw.drills.drill import Drill

HEAD = """\
# Drills

Real failures on a lab cluster, to practise on. This page is made from `khw/drills/`; `python -m khw.drills.page` writes
it anew.

<!-- not run: it breaks the cluster; make drills walks through all of them -->
```sh
khw drill list           # what there is, and what each needs
khw drill start NAME     # break it, and hear the story; without a name, one of those that fit
khw drill hint           # one more hint each time; the last one is the whole repair
khw drill check          # is it repaired, by whatever way?
khw drill stop           # the cluster as it was, from whatever state
```

A drill tells what a colleague would tell: what is seen, not what it is. `khw drill check` looks at the effect alone, so
any repair that works is right. `khw drill stop` takes away what the drill has left, has khw's own run put the cluster
right, and ends with `khw verify`; an etcd that cannot be helped goes back to the snapshot that was taken at the start.

A drill starts only in the lab, on a cluster that is well, and never beside a run or another drill. On a cluster of
another kind it starts if you name it: `khw drill start NAME --really CLUSTER`. Don't.

Clocks: all machines of the lab have the clock of their host, so none of them can be wrong. The drill `clock-ahead` has
a certificate from an issuer whose clock was: what a kubelet with a wrong clock meets is the same.
"""

STANDARD = {
    "controller": "controller-0",
    "controller_ip": "10.240.0.10",
    "last": "controller-2",
    "last_ip": "10.240.0.12",
    "controllers": "controller-0 controller-1 controller-2",
    "each_controller": "controller-0, controller-1, controller-2",
    "worker": "worker-0",
    "worker_ip": "10.240.0.20",
    "pod_cidr": "10.200.0.0/24",
    "other_worker": "worker-2",
    "api_address": "API_ADDRESS",
    "api_url": "https://API_ADDRESS:6443",
    "port": "6443",
    "service_address": "10.32.0.1",
    "dns_address": "10.32.0.10",
    "domain": "cluster.local",
    "network": "kubernetes-the-hard-way",
    "etcdctl": ETCDCTL,
}


def text() -> str:
    """Return the page."""
    rows = [f"| [{row.name}](#{row.name}) | {row.chapter} | {size(row)} |" for row in DRILLS]
    return "\n".join((HEAD, "| drill | chapter | needs |", "|--|--|--|", *rows, "", *map(_section, DRILLS)))


def size(row: Drill) -> str:
    """Return what a drill needs, in words."""
    machines = f"{_count(max(row.controllers, row.members), 'controller')}, {_count(row.workers, 'worker')}"
    return f"{machines}, a project" if row.project else machines


def _count(number: int, role: str) -> str:
    return f"{number} {role}{'' if number == 1 else 's'}"


class _Shown(defaultdict[str, str]):
    """Values of a cluster as `khw init` writes it; what is only found at the start keeps its name."""

    def __missing__(self, key: str) -> str:
        return f"<{key.replace('_', ' ')}>"


def _section(row: Drill) -> str:
    values = _Shown(None, STANDARD)
    *hints, repair = row.steps(values)
    numbered = "\n".join(f"{number}. {hint}" for number, hint in enumerate(hints, 1))
    commands = "\n".join(line.strip() for line in repair.splitlines()[1:])
    return (
        f"## {row.name}\n\n{row.told(values)}\n\n"
        f"<details><summary>Hints, and what it is</summary>\n\n{numbered}\n\n"
        f"What it is: {row.title}. The whole repair:\n\n```text\n{commands}\n```\n\n</details>\n"
    )


if __name__ == "__main__":
    from pathlib import Path

    Path("docs/drills.md").write_text(text())
