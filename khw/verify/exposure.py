"""
How much each unit of khw's is exposed, by systemd's own count: 0 is a sandbox, 10 is root as it always was.

The number is `systemd-analyze security`'s, made from the unit's options. What is expected of a unit is what khw's own
options give with every systemd that khw knows (249 and newer), and a little more: the count changes with its version.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from khw.ssh.connection import RemoteCommand
from khw.verify.check import Finding, last_line
from khw.verify.units import units

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.cluster.model import Node
    from khw.ssh.connection import Completed
    from khw.verify.context import Context

LIMITS = {
    "etcd.service": 2.5,
    "kube-apiserver.service": 2.5,
    "kube-controller-manager.service": 2.5,
    "kube-scheduler.service": 2.5,
    "kube-proxy.service": 4.5,
    "kubelet.service": 9.2,
    "containerd.service": 10.0,  # it starts every container, and what it is denied, they are denied
}
LINE = re.compile(r"exposure level for (\S+): ([\d.]+) (\w+)")


def ask(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask for the last line of each unit's account."""
    names = " ".join(unit.name for unit in units(node, context))
    return (
        RemoteCommand(("sh", "-c", f"systemd-analyze security --no-pager {names} 2>&1 | grep -a 'exposure level'")),
    )


def judge(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Give one finding a unit."""
    counted = {name: (float(number), word) for name, number, word in LINE.findall(answers[0].out)}
    for unit in units(node, context):
        limit = LIMITS.get(unit.name, 10.0)
        expected = f"exposed by no more than {limit:g} of 10"
        if unit.name not in counted:
            yield Finding(
                ok=None,
                subject=unit.name,
                expected=expected,
                actual=f"systemd-analyze does not say: {last_line(answers[0])}",
            )
            continue
        number, word = counted[unit.name]
        yield Finding(
            ok=number <= limit,
            subject=unit.name,
            expected=expected,
            actual=f"{number:.1f} {word}",
            hint=f"something takes options of the sandbox away: khw run --limit {node.name} writes the unit again",
        )
