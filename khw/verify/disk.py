"""Disks: there is room, and there are inodes, wherever a service writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.cluster.spec import Role
from khw.ssh.connection import RemoteCommand
from khw.verify.check import Finding, last_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.cluster.model import Node
    from khw.ssh.connection import Completed
    from khw.verify.context import Context

LEFT_MIB = 64
LEFT_PERCENT = 2
WRITTEN = {
    Role.ETCD: ("/var/lib/etcd",),
    Role.CONTROLLER: ("/var/log/kubernetes",),
    Role.WORKER: ("/var/lib/containerd", "/var/lib/kubelet"),
}
EVERYWHERE = ("/var/log", "/run")
"""Where etcd, the audit log, containers, pods and the journal are."""


def written(node: Node) -> tuple[str, ...]:
    """Return what is written to on this node."""
    return (*(path for role, paths in WRITTEN.items() if role in node.roles for path in paths), *EVERYWHERE)


def ask(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask for the space and the inodes of each; the rows have no directory's name, so each is asked alone."""
    del context
    script = 'for d; do echo "$d $(df -Pk "$d" 2>/dev/null | tail -n 1) $(df -Pi "$d" 2>/dev/null | tail -n 1)"; done'
    return (RemoteCommand(("sh", "-c", script, "sh", *written(node))),)


def judge(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Expect some room on each file system; a directory that is not there is another check's finding."""
    del context
    (answer,) = answers
    rows = [line.split() for line in answer.out.splitlines()]
    full = {row[0]: problem for row in rows if len(row) == 13 and (problem := _problem(row))}
    for path, problem in full.items():
        yield Finding(
            ok=False,
            subject=path,
            expected=f"over {LEFT_MIB} MiB and {LEFT_PERCENT} % free",
            actual=problem,
            evidence=next(line for line in answer.out.splitlines() if line.startswith(f"{path} ")),
            hint=f"make room: khw ssh {node.name} sudo du -xh --max-depth=2 {path}",
        )
    if not full:
        seen = f"room in {', '.join(row[0] for row in rows)}" if rows else last_line(answer)
        yield Finding(ok=bool(rows), expected="room where services write", actual=seen)


def _problem(row: list[str]) -> str:
    """Return what is wrong, from: directory, file system, KiB, used, free, percent, mount, and the same in inodes."""
    total, free, inodes, left = (int(row[at]) if row[at].isdigit() else 0 for at in (2, 4, 8, 10))
    if total and (free < LEFT_MIB << 10 or free * 100 < total * LEFT_PERCENT):
        return f"{free >> 10} MiB of {total >> 10} MiB free on {row[6]}"
    if inodes and left * 100 < inodes * LEFT_PERCENT:
        return f"{left} of {inodes} inodes free on {row[6]}"
    return ""
