"""What a recommendation is, and what a look at it comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from khw.verify.check import Finding

if TYPE_CHECKING:
    from khw.verify.cis.objects import Objects
    from khw.verify.cis.seen import Seen

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Judged:
    """What was seen. `ok` is None where the recommendation does not apply; `manual` where only a person can tell."""

    ok: bool | None
    seen: str
    manual: bool = False


def met(seen: str) -> Judged:
    """It is as recommended."""
    return Judged(True, seen)


def unmet(seen: str) -> Judged:
    """It is not."""
    return Judged(False, seen)


def met_if(ok: bool, seen: str) -> Judged:
    """Say whether it is as recommended, and what was seen in either case."""
    return Judged(ok, seen)


def not_applicable(why: str) -> Judged:
    """Nothing here can be as it says."""
    return Judged(None, why)


def for_a_person(seen: str) -> Judged:
    """Only a person can judge it; this is what to look at."""
    return Judged(None, seen, manual=True)


@dataclass(frozen=True, slots=True)
class Control(Generic[S]):
    """
    One recommendation: its number, what it asks for in khw's own words, and how it is judged by what was seen.

    `manual` are those that the benchmark leaves to a person: where khw can see that they are met it says so; where
    not, it is a person's to judge and no failure.
    """

    number: str
    title: str
    look: Callable[[S], Judged]
    manual: bool = False

    def finding(self, seen: S) -> Finding:
        """Return what a look at it comes to."""
        judged = self.look(seen)
        leave = judged.manual or (self.manual and judged.ok is False)
        words = f"not met: {judged.seen}" if leave and judged.ok is False else judged.seen
        return Finding(
            ok=None if leave else judged.ok,
            manual=leave,
            subject=self.number,
            expected=self.title,
            actual=words,
            hint="khw plan shows what of it is khw's own and was changed; khw run makes it so"
            if judged.ok is False and not leave
            else "",
        )


NodeControl: TypeAlias = "Control[Seen]"
ClusterControl: TypeAlias = "Control[Objects]"
