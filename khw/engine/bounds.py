"""
What a run takes of the operator's machine, as a function of `-j` and not of the number of hosts.

    lanes        4 × j, at least one more than the hosts that others wait for
    connections  one a lane, and KEPT of hosts that are through (the smoke test asks them again)
    threads      lanes + connections (paramiko has one for each) + about ten
    descriptors  connections + SPARE

`khw verify` and the smoke test ask every node, in several exchanges: they alone hold a connection a node.
"""

from __future__ import annotations

import resource

LANES_A_PLACE = 4  # a lane that waits at a gate, or for its node, holds no place at work
KEPT = 64
SPARE = 128  # what a process has open besides: libraries, the journal, children's pipes
LOGINS = 64  # at once, where every node is connected to


def lanes(parallel: int, leaders: int) -> int:
    """
    Return how many hosts may be on their way at once.

    `leaders` are the hosts that others wait for (the operator's side, the controllers). They set out first, and there
    is always a lane more: with all lanes waiting for a host that has none, a run would never end.
    """
    return max(LANES_A_PLACE * parallel, leaders + 1)


def make_room(connections: int) -> None:
    """Raise this process's limit of open files to what so many connections need, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + SPARE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
