"""The packet filter of a worker: packets of pods are forwarded, and a policy of DROP (Docker sets it) ends them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.ssh.connection import RemoteCommand
from khw.verify.check import Finding, last_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.cluster.model import Node
    from khw.ssh.connection import Completed
    from khw.verify.context import Context

EXPECTED = "packets of pods are forwarded"


def ask(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask for the chain FORWARD, and whether the kernel forwards at all."""
    return (
        RemoteCommand(("iptables", "--wait", "5", "-S", "FORWARD")),
        RemoteCommand(("cat", "/proc/sys/net/ipv4/ip_forward")),
    )


def judge(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Expect ACCEPT as the policy, or rules of somebody's own that accept the cluster CIDR."""
    chain, forward = answers
    accepted = f"-s {context.cluster.network.cluster_cidr}" in chain.out
    dropped = "-P FORWARD DROP" in chain.out and not accepted
    off = forward.out.strip() == "0"
    if chain.code:
        yield Finding(ok=False, expected=EXPECTED, actual=last_line(chain))
        return
    seen = [*(["net.ipv4.ip_forward is 0"] if off else []), *(["the policy of FORWARD is DROP"] if dropped else [])]
    yield Finding(
        ok=not seen,
        expected=EXPECTED,
        actual=" and ".join(seen) or "they are",
        hint="sudo iptables -S FORWARD; sudo iptables --policy FORWARD ACCEPT; sudo sysctl net.ipv4.ip_forward",
    )
