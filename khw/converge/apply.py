"""
The one interpreter of resources: probe, compare, act.

One exchange looks at all resources of a phase on a node; what differs is done, in order, in one more. Conditions at the
end (`Wait`) can be behind a gate of their own: then they take a third.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from khw.converge.changes import Action, Change
from khw.converge.compare import Articles, Touched, judge, must_act, operation, payload, spec
from khw.converge.resources import Binary, Command, Image, Require, Resource, Unit, Wait
from khw.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from khw.artifacts.store import Store
    from khw.cluster.model import Facts
    from khw.converge.compare import State
    from khw.ssh.client import Cargo, Payload
    from khw.ssh.relay import Station


class Machine(Protocol):
    """What is needed of a node: `khw.ssh.client.Agent`, or in a plan one that is not made yet."""

    @property
    def facts(self) -> Facts:
        """What it is."""

    @property
    def distance(self) -> float:
        """How far it is, in seconds of round trip."""

    def probe(self, specs: Sequence[Mapping[str, Any]], *, record: bool = True) -> list[dict[str, Any]]:
        """Return the states of resources."""

    def act(
        self,
        ops: Sequence[Mapping[str, Any]],
        payloads: Sequence[Cargo] = (),
        *,
        on_done: Callable[[dict[str, Any]], None],
        on_bytes: Callable[[int], None] | None = None,
        relay: Mapping[str, str] | None = None,
    ) -> None:
        """Do these, in order."""


@dataclass(slots=True)
class Looked:
    """What a node is asked about resources, and what it answered, one after another."""

    articles: Articles
    specs: list[dict[str, Any]]
    states: list[State] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Row:
    """A resource, its state, what that means, and whether the node has to act or look again."""

    resource: Resource
    state: State
    change: Change
    act: bool


@dataclass(slots=True)
class _Listener:
    """Collects changes, and passes each on as it happens."""

    on_change: Callable[[Change], None] | None
    on_start: Callable[[Resource, int], None] | None
    on_bytes: Callable[[int], None] | None
    changes: list[Change] = field(default_factory=list)

    def note(self, change: Change) -> None:
        self.changes.append(change)
        if self.on_change:
            self.on_change(change)

    def start(self, resource: Resource, size: int) -> None:
        if self.on_start:
            self.on_start(resource, size)


def converge(  # noqa: PLR0913 - who listens and what is simulated is the caller's to say
    agent: Machine,
    resources: Sequence[Resource],
    store: Store,
    *,
    node: str,
    check: bool = False,
    on_change: Callable[[Change], None] | None = None,
    on_start: Callable[[Resource, int], None] | None = None,
    on_bytes: Callable[[int], None] | None = None,
    settle: Callable[[], AbstractContextManager[object]] | None = None,
    guard: Callable[[Sequence[Change]], AbstractContextManager[object] | None] | None = None,
    foreseen: Touched | None = None,
    station: Callable[[], Station | None] = lambda: None,
    look: Callable[[], Looked] | None = None,
) -> list[Change]:
    """
    Bring these resources to where they should be on the agent's node, and return what that took.

    With `check` nothing is done, and `foreseen` is what the node's earlier phases would have done. `on_change` hears of
    each resource when it is done, `on_start` when its turn comes on the node and how many bytes are sent for it,
    `on_bytes` of what the node has taken of them; trailing Waits run inside
    `settle()`, and units and commands, with what follows, inside `guard(what will be done)` if that returns one.
    `station()` is the node's place among those that pass artifacts on to each other, if they do; `look()` returns what
    is there of these resources, if somebody else asks the node.
    StepError names the resource that failed: those before it are done, those after it are not.
    """
    if look:
        looked = look()
    else:
        looked = looked_for(agent, resources, store, check=check)
        looked.states = list(agent.probe(looked.specs, record=not check)) if resources else []
    articles, states = looked.articles, looked.states
    _require(node, resources, states)
    rows = _compare(resources, states, articles, foreseen if check else None)
    listener = _Listener(on_change, on_start, on_bytes)
    if check or not any(row.act for row in rows):
        for row in rows:
            listener.note(row.change)
        return listener.changes
    first = len(rows) - _trailing_waits(resources)
    if settle is None:
        first = len(rows)
    guarded = guard([row.change for row in rows]) if guard else None
    quiet = _quiet(resources) if guarded else 0
    act = _Act(agent, articles, listener, station())
    if quiet:
        act.through(rows[:quiet])
    with guarded or nullcontext():
        act.through(rows[quiet:first])
        if rows[first:]:
            with settle() if settle else nullcontext():
                act.through(rows[first:])
    return listener.changes


def looked_for(agent: Machine, resources: Sequence[Resource], store: Store, *, check: bool) -> Looked:
    """Return what is to be asked of the node about these resources."""
    articles = _articles(agent, resources, store, check=check)
    return Looked(articles, [spec(resource, articles) for resource in resources])


def _articles(agent: Machine, resources: Sequence[Resource], store: Store, *, check: bool) -> Articles:
    names = {resource.artifact for resource in resources if isinstance(resource, Binary | Image)}
    if check:
        return Articles.foreseen(store, names, agent.facts.architecture)
    return Articles.of(store, names, agent.facts.architecture, zstd=agent.facts.zstd)


def _require(node: str, resources: Sequence[Resource], states: Sequence[State]) -> None:
    """Raise for what a node must have and does not have: everything at once, so that it is mended at once."""
    failed = [(r, s) for r, s in zip(resources, states, strict=True) if isinstance(r, Require) and s["code"]]
    if not failed:
        return
    seen = [f"{r.name}: {(s['out'].strip() or s['err'].strip())}" for r, s in failed]
    problems = "; ".join(r.problem for r, _ in failed)
    raise StepError(problems, node=node, hint="; ".join(r.hint for r, _ in failed), evidence="\n".join(seen))


def _compare(
    resources: Sequence[Resource], states: Sequence[State], articles: Articles, foreseen: Touched | None
) -> list[_Row]:
    touched = Touched() if foreseen is None else foreseen
    rows = []
    for resource, found in zip(resources, states, strict=True):
        state = found if foreseen is None else foreseen.seen(resource, found)
        change = judge(resource, state, touched, articles)
        rows.append(_Row(resource, state, change, must_act(resource, state, change, touched)))
        touched.note(resource, change, articles)
    return rows


def _quiet(resources: Sequence[Resource]) -> int:
    """Return how many resources come before the first that starts or runs anything."""
    loud = (index for index, resource in enumerate(resources) if isinstance(resource, Unit | Command))
    return next(loud, len(resources))


def _trailing_waits(resources: Sequence[Resource]) -> int:
    count = 0
    for resource in reversed(resources):
        if not isinstance(resource, Wait):
            break
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class _Act:
    """How things are done on a node: one exchange for each call of `through`."""

    agent: Machine
    articles: Articles
    listener: _Listener
    station: Station | None

    def through(self, rows: Sequence[_Row]) -> None:
        """Do what there is to do, in one exchange; what is as it should be is reported in its place."""
        waiting = list(rows)
        busy = [row for row in rows if row.act]
        sent = [payload(row.resource, row.state, self.articles) for row in busy]
        begins = iter([(row.resource, p.size if p else 0) for row, p in zip(busy, sent, strict=True)])

        def go_on() -> None:
            while waiting and not waiting[0].act:
                self.listener.note(waiting.pop(0).change)
            if begun := next(begins, None):
                self.listener.start(*begun)

        def done(event: dict[str, Any]) -> None:
            row = waiting.pop(0)
            self._arrived(row, event)
            self.listener.note(_happened(row.change, event))
            go_on()

        go_on()
        if not busy:
            return
        ops = [operation(row.resource, row.state, self.articles) for row in busy]
        cargo = [self._cargo(row, p) for row, p in zip(busy, sent, strict=True) if p is not None]
        if self.station is None:
            self.agent.act(ops, cargo, on_done=done, on_bytes=self.listener.on_bytes)
        else:
            with self.station.open():
                self.agent.act(ops, cargo, on_done=done, on_bytes=self._taken, relay=self.station.card)

    def _cargo(self, row: _Row, sent: Payload) -> Cargo:
        """Return what goes to the node with the operation, by whichever way."""
        if self.station is None or not isinstance(row.resource, Binary | Image):
            return sent
        return self.station.parcel(self.articles.found[row.resource.artifact], sent)

    def _taken(self, count: int) -> None:
        if self.station:
            self.station.moves()
        if self.listener.on_bytes:
            self.listener.on_bytes(count)

    def _arrived(self, row: _Row, event: Mapping[str, Any]) -> None:
        """Tell the others that they may have an artifact from this node."""
        if self.station and isinstance(row.resource, Binary | Image):
            self.station.has(self.articles.sha256(row.resource.artifact), event["port"])


def _happened(planned: Change, event: dict[str, Any]) -> Change:
    """Return what was done: the agent's word counts, the diff is from the comparison."""
    action = Action(event["action"])
    if action is Action.UNCHANGED:
        return Change(resource=planned.resource, action=action, seconds=event["seconds"])
    return replace(
        planned,
        action=action,
        before=event["before"] or planned.before,
        after=event["after"] or planned.after,
        seconds=event["seconds"],
    )
