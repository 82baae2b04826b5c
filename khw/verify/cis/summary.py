"""The benchmark's results as rows: nodes that say the same in one, the worst of a recommendation first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from khw.checks import Status
from khw.live.frame import together
from khw.verify.cis.profile import CHECK, NUMBERS, order, section

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.checks import CheckResult

WORDS = {
    Status.FAILED: "fail",
    Status.MANUAL: "manual",
    Status.PASSED: "pass",
    Status.SKIPPED: "not applicable",
}
"""What each is called in the benchmark's own terms; a recommendation is what the first of these says of any node."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of one recommendation, on all nodes where it was the same."""

    number: str
    section: str
    title: str
    status: Status
    where: str  # 'controller-0 … controller-2', '' for the cluster as a whole
    seen: str

    @property
    def word(self) -> str:
        """The result in the benchmark's terms."""
        return WORDS[self.status]


def rows(results: Iterable[CheckResult]) -> list[Row]:
    """Return the benchmark's part of these results, in the order of its numbers."""
    nodes: dict[tuple[str, str, Status, str], list[str]] = {}
    for result in results:
        if result.check == CHECK and result.subject in NUMBERS:
            key = (result.subject, result.expected, result.status, result.actual)
            nodes.setdefault(key, []).append(result.node)
    made = [
        Row(number, section(number), title, status, together([n for n in names if n]), seen)
        for (number, title, status, seen), names in nodes.items()
    ]
    worst = list(WORDS)
    return sorted(made, key=lambda row: (order(row.number), worst.index(row.status)))


def counts(found: Sequence[Row]) -> dict[str, int]:
    """Return how many recommendations came to what."""
    worst = list(WORDS)
    results: dict[str, Status] = {}
    for row in found:
        before = results.get(row.number, row.status)
        results[row.number] = min(before, row.status, key=worst.index)
    counted = Counter(results.values())
    return {word: counted[status] for status, word in WORDS.items()}


def told(found: Sequence[Row]) -> str:
    """Return the counts in one line."""
    parts = [f"{count} {word}" for word, count in counts(found).items()]
    return f"{', '.join(parts)}, of {len({row.number for row in found})} recommendations"
