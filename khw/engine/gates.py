"""
Gates: what the cluster needs before a phase may go on, on a host.

Hosts advance on their own; there are no barriers. A `Need` is a number of hosts of a role that have come through a
phase. The `Board` is where hosts write how far they are and wait for others.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from khw.engine.report import OPERATOR, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from khw.cluster.spec import Role


ANY_NEWS = ""  # whatever ends, anywhere, and turns that are given back


class Quorum(StrEnum):
    """How many hosts of a role must be through."""

    ANY = "any"
    MAJORITY = "majority"
    ALL = "all"

    def of(self, total: int) -> int:
        """Return how many of `total` hosts that is; of none, none are needed."""
        if total == 0:
            return 0
        return {Quorum.ANY: 1, Quorum.MAJORITY: total // 2 + 1, Quorum.ALL: total}[self]


@dataclass(frozen=True, slots=True)
class Need:
    """`quorum` of the hosts of `role` (None: the operator's side) must be through `phase`."""

    phase: str
    role: Role | None = None
    quorum: Quorum = Quorum.ANY

    def __str__(self) -> str:
        whose = f"{self.quorum} {self.role}" if self.role else "the operator's side"
        return f"{self.phase} on {whose}"


class Blocked(Exception):  # noqa: N818 - a state of a host, as the report calls it, more than an error
    """A gate can no longer open; the text says why."""


class Cancelled(Exception):  # noqa: N818 - likewise
    """The run was cancelled while waiting."""


@dataclass
class Board:
    """
    How far every host is; safe to use from all lanes at once.

    `members` are all hosts of the cluster by role; `active` are the hosts and phases of this run: what is not in it
    was done before, as far as a gate is concerned.
    """

    members: Mapping[Role | None, tuple[str, ...]]
    active: frozenset[tuple[str, str]]
    _ended: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    _claims: dict[str, str] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _waiters: dict[str, threading.Condition] = field(default_factory=dict)  # by phase: who waits is woken by that alone
    _cancelled: bool = False
    _turn: str = ""  # the controller that is being disturbed

    def record(self, host: str, phase: str, outcome: Outcome) -> None:
        """Write down how a phase ended on a host, and wake who waits for it."""
        with self._lock:
            self._ended[host, phase] = outcome
            if self._claims.get(phase) == host and not outcome.good:
                del self._claims[phase]
            self._about(phase).notify_all()
            self._about(ANY_NEWS).notify_all()

    def cancel(self) -> None:
        """Open no gate any more: every waiting host ends as cancelled."""
        with self._lock:
            self._cancelled = True
            for waiters in self._waiters.values():
                waiters.notify_all()

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled."""
        return self._cancelled

    def closed(self, needs: Iterable[Need]) -> str:
        """Return what the first need that is not met waits for, or ''."""
        with self._lock:
            return next((reason for need in needs if (reason := self._missing(need))), "")

    def holders(self, need: Need) -> tuple[str, ...]:
        """Return who has still to come through what is needed."""
        with self._lock:
            hosts = self.members.get(need.role, ())
            return tuple(h for h in hosts if (h, need.phase) in self.active and (h, need.phase) not in self._ended)

    def wait(self, needs: Iterable[Need]) -> None:
        """Wait until all needs are met; raise `Blocked` when one of them can no longer be, `Cancelled` on Ctrl-C."""
        with self._lock:
            for need in needs:
                while self._missing(need):
                    self._raise_if_cancelled()
                    self._about(need.phase).wait()
            self._raise_if_cancelled()

    def claim(self, host: str, phase: str, then: Iterable[str] = ()) -> str:
        """
        Claim once-per-cluster work; return who has it, which is `host` itself if it is to do it.

        Where another host has it, wait until that one is through: if it fails, this one may take over. `then` is such
        work that follows on the same host: who does the one does the next, because it has looked at both already.
        """
        with self._lock:
            while True:
                self._raise_if_cancelled()
                owner = self._claims.setdefault(phase, host)
                for later in then if owner == host else ():
                    self._claims.setdefault(later, host)
                if owner == host or self._ended.get((owner, phase), Outcome.CANCELLED).good:
                    return owner
                self._about(phase).wait()

    def claimant(self, phase: str) -> str:
        """Return the host that is doing once-per-cluster work at this moment, or ''."""
        with self._lock:
            owner = self._claims.get(phase, "")
            return "" if (owner, phase) in self._ended else owner

    @property
    def turn(self) -> str:
        """Who has the turn, or ''."""
        return self._turn

    def take_turn(self, host: str) -> None:
        """Wait until nobody else has the turn, and take it."""
        with self._lock:
            while self._turn:
                self._raise_if_cancelled()
                self._about(ANY_NEWS).wait()
            self._raise_if_cancelled()
            self._turn = host

    def end_turn(self, host: str) -> None:
        """Give the turn back, if this host has it."""
        with self._lock:
            if self._turn == host:
                self._turn = ""
                self._about(ANY_NEWS).notify_all()

    def pause(self, seconds: float) -> None:
        """Wait until a host gets on, for so long at most."""
        with self._lock:
            self._raise_if_cancelled()
            self._about(ANY_NEWS).wait(seconds)

    def _about(self, phase: str) -> threading.Condition:
        if phase not in self._waiters:
            self._waiters[phase] = threading.Condition(self._lock)
        return self._waiters[phase]

    def _raise_if_cancelled(self) -> None:
        if self._cancelled:
            raise Cancelled

    def _missing(self, need: Need) -> str:
        hosts = self.members.get(need.role, ())
        states = {host: self._ended.get((host, need.phase)) for host in hosts if (host, need.phase) in self.active}
        through = sum(host not in states or ((o := states[host]) is not None and o.good) for host in hosts)
        wanted = need.quorum.of(len(hosts))
        if through >= wanted:
            return ""
        lost = {host: outcome for host, outcome in states.items() if outcome is not None and not outcome.good}
        if len(hosts) - len(lost) < wanted:
            reasons = ", ".join(f"{host} {outcome}" for host, outcome in sorted(lost.items()))
            raise Blocked(f"needs {need}: {reasons}")
        still = ", ".join(host for host, outcome in states.items() if outcome is None)
        return f"{need} ({still})"


def members_of(hosts: Iterable[tuple[str, Role]]) -> dict[Role | None, tuple[str, ...]]:
    """Return the hosts by role, with the operator's side under None."""
    table: dict[Role | None, list[str]] = {None: [OPERATOR]}
    for name, role in hosts:
        table.setdefault(role, []).append(name)
    return {role: tuple(names) for role, names in table.items()}
