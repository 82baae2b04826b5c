"""Clocks: certificates, leases and etcd need nodes that agree on the time (chapter 1)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from khw.ssh.connection import RemoteCommand
from khw.verify.check import Finding, last_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.cluster.model import Node
    from khw.ssh.connection import Completed
    from khw.verify.context import Context

LIMIT = 1.0  # seconds; from here on etcd warns of its peers' clocks


def ask(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask for the time."""
    return (RemoteCommand(("date", "+%s.%N")),)


def judge(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Compare with the operator's clock. The question is the exchange's last, so the answer is fresh."""
    (answer,) = answers
    try:
        skew = float(answer.out) - time.time()
    except ValueError:
        yield Finding(ok=False, expected=_EXPECTED, actual=last_line(answer))
        return
    yield Finding(
        ok=abs(skew) < LIMIT,
        expected=_EXPECTED,
        actual=f"{abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}",
        hint="timedatectl; is a time service (systemd-timesyncd, chrony) running?",
    )


_EXPECTED = f"within {LIMIT:g} s of the operator's clock"
