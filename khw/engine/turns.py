"""
Turns: while the cluster lives, one controller at a time is disturbed, and only while the others are well.

A host that is about to restart a running service, or to change etcd's members, takes the one turn that there is, looks
whether the cluster can do without it, and keeps the turn until it is well again. A first installation takes no turns:
nothing that lives is disturbed by it. docs/decisions/0019.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from khw.converge.changes import Action
from khw.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from khw.converge.changes import Change
    from khw.engine.gates import Board

PAUSE = 1.0  # seconds until others are looked at again, if no host of this run says something before
PATIENCE = 6.0  # seconds for one answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """
    How a service that all controllers share is asked for, from one of them: commands that exit 0 if it is well.

    `needed` of the `others` must be well before this one is disturbed. `joins` is the resource that changes who is a
    member: never without the others, because alone it could only make a second cluster.
    """

    service: str
    mine: tuple[str, ...]
    others: tuple[tuple[str, ...], ...]
    needed: int
    joins: str = ""


class Verdict(Enum):
    """What the answers mean for a host that has the turn."""

    SAFE = "the others carry the cluster"
    FREE = "the cluster does not live: there is nothing to disturb"
    NOT_YET = "too few of the others are well"


def disturbs(health: Health, changes: Iterable[Change], *, lives: bool) -> bool:
    """Whether what is about to be done is done to something that others may be using."""
    return any(
        change.action is Action.RESTARTED or (lives and change.changed and change.resource == health.joins)
        for change in changes
    )


def judge(health: Health, well: Sequence[bool], *, joining: bool) -> Verdict:
    """
    Return what the answers of `mine` and of `others` mean.

    Who joins takes nothing away, and an other that is well has a majority behind it: one such is enough. So a cluster
    that had to begin again with one member gets its others back.
    """
    mine, *others = well
    if sum(others) >= (min(1, health.needed) if joining else health.needed):
        return Verdict.SAFE
    return Verdict.NOT_YET if mine or joining else Verdict.FREE


@contextmanager
def turn(  # noqa: PLR0913 - who, about what, and for how long
    board: Board,
    host: str,
    health: Health,
    look: Callable[[], Sequence[bool]],
    *,
    joining: bool,
    timeout: float,
    told: Callable[[str], None] = lambda _reason: None,
) -> Iterator[None]:
    """
    Hold the turn, once the others are well; StepError if they are not within `timeout` seconds.

    `told` hears what is waited for.
    """
    deadline = time.monotonic() + timeout
    while True:
        if holder := board.turn:
            told(f"its turn: {holder} has it")
        board.take_turn(host)
        try:
            well = look()
            verdict = judge(health, well, joining=joining)
            if verdict is Verdict.SAFE:
                yield
                return
        finally:
            board.end_turn(host)
        if verdict is Verdict.FREE:
            yield
            return
        if time.monotonic() > deadline:
            raise StepError(
                f"{health.service} is not touched here: {sum(well[1:])} of {len(health.others)} others are well, "
                f"expected at least {health.needed}",
                node=host,
                hint="khw verify says which controller is not well; mend it first: khw run --limit CONTROLLER",
            )
        told(f"{health.service} to be well on others: {sum(well[1:])} of {health.needed} are")
        board.pause(PAUSE)
