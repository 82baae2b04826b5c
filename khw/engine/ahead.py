"""
What a host's next phases will want to know of it, asked together with the first: one exchange for all of them.

Far away an exchange is a round trip, and a run that changes nothing has eight on a controller. What was seen ahead
counts only as long as nothing at all was changed since, by anyone in this run; then every phase looks for itself, as
it always did (docs/decisions/0028-start-up.md).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import dropwhile, takewhile
from typing import TYPE_CHECKING

from khw.converge.apply import Looked, looked_for
from khw.converge.limits import limited
from khw.errors import KhwError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from khw.cluster.model import Node
    from khw.converge.apply import Machine
    from khw.converge.resources import Resource
    from khw.engine.operator import Run
    from khw.engine.phases import Phase


FRESH = 10.0  # seconds for which a look counts from its answer on, whatever holds a host up


@dataclass(slots=True)
class Still:
    """Whether nothing was changed yet in this run; shared by all of its hosts."""

    holds: bool = True


@dataclass(slots=True)
class LookAhead:
    """The looks of one host, by phase; `phases` are those that it walks."""

    run: Run
    still: Still
    phases: Sequence[Phase]
    _at: float = 0.0
    _asked: dict[str, list[Resource]] = field(default_factory=dict)
    _seen: dict[str, Looked] = field(default_factory=dict)

    def resources(self, phase: Phase, node: Node) -> list[Resource]:
        """Return what a phase asks for on the host."""
        if phase.name in self._asked:
            return self._asked[phase.name]
        rows = phase.task(node, self.run.cluster, self.run.pki) if phase.task else ()
        return [limited(row, self.run.spec.timeouts) for row in rows]

    def look(self, phase: Phase, agent: Machine, node: Node, resources: Sequence[Resource]) -> Looked:
        """Return what there is of what this phase asks for."""
        seen = self._seen.pop(phase.name, None)
        if seen is not None and self.still.holds and time.monotonic() - self._at < FRESH:
            return seen
        self._seen = {}
        mine = looked_for(agent, resources, self.run.store, check=self.run.check)
        self._probe(agent, [mine, *self._later(phase, agent, node).values()])
        self._at = time.monotonic()
        return mine

    def following(self, phase: Phase) -> list[Phase]:
        """Return the phases that come next on this host, up to where once-per-cluster work begins or ends."""
        rows = dropwhile(lambda row: row.name != phase.name, self.phases)
        return list(takewhile(lambda row: row.once == phase.once, rows))[1:]

    def _later(self, phase: Phase, agent: Machine, node: Node) -> dict[str, Looked]:
        """Return the phases that follow, as far as they are this host's for certain and can be asked for already."""
        if not self.still.holds or self.run.cluster.may_bootstrap:
            return {}
        for row in self.following(phase):
            if row.task is None:
                break
            try:
                self._asked[row.name] = self.resources(row, node)
                self._seen[row.name] = looked_for(agent, self._asked[row.name], self.run.store, check=self.run.check)
            except KhwError:  # its own turn will tell
                break
        return self._seen

    def _probe(self, agent: Machine, looks: Sequence[Looked]) -> None:
        """Fill in the states of all these, from one exchange."""
        specs = [spec for look in looks for spec in look.specs]
        states = iter(agent.probe(specs, record=not self.run.check) if specs else ())
        for look in looks:
            look.states = [next(states) for _ in look.specs]
