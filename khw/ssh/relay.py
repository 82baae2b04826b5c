"""
Artifacts cross the operator's line once: the node that has one first passes it on to the others.

`Relay` is what the lanes of a run share: who has which artifact by now, and to whom it is on its way. A `Station` is a
node's place in it for one act, a `Parcel` one artifact on its way to that node: as the pieces of a payload from here,
or as a ticket for it at another node. Nobody waits for what is not on its way, and where passing on fails, the next
who has it is asked, and in the end we are. docs/decisions/0022-relay.md.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from khw.agent.relay import PATIENCE, seal
from khw.agent.wire import pack_ticket
from khw.errors import StepError
from khw.ssh.client import Hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from khw.artifacts.store import Artifact
    from khw.ssh.client import Cargo

Policy: TypeAlias = Literal["auto", "always", "never"]

FAR = 0.010  # seconds of round trip from which on nodes are far
STALLED = 20.0  # seconds without a sign that it moves on after which an artifact is on nobody's way
SERVED = 4  # copies that a node gives at once; those who got one give on
MISSES = 2  # other nodes that a node does not reach before it is believed to reach none
LOOK = 0.1  # seconds at most between two looks at what the others got


@dataclass(slots=True)
class _Copies:
    """Of one artifact: by host, the copies that it gives just now; and since when we had a sign of those under way."""

    held: dict[str, int] = field(default_factory=dict)
    coming: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Host:
    """What is known of a node: where it gives artifacts away, and from whom it did not get any."""

    key: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    address: str = ""
    port: int = 0
    gives: bool = True  # as far as is known
    missed: set[str] = field(default_factory=set)


class Relay:
    """Who has which artifact, for the lanes of one run; `tell(host, text)` is for the person who watches."""

    def __init__(self, policy: Policy, tell: Callable[[str, str], None]) -> None:
        self._policy = policy
        self._tell = tell
        self._said = False
        self._nearest = math.inf  # seconds of round trip to the nearest of all nodes that were asked for so far
        self._hosts: dict[str, _Host] = {}
        self._copies: dict[str, _Copies] = {}
        self._changed = threading.Condition()

    def station(self, host: str, address: str, distance: float) -> Station | None:
        """
        Return the node's place, if artifacts are to be passed on; it is `distance` seconds of round trip away.

        They are, or are not, for all nodes alike: a node that was only slow to answer is not far where others are near.
        """
        with self._changed:
            self._nearest = min(self._nearest, distance)
            if self._policy == "never" or (self._policy == "auto" and self._nearest < FAR):
                return None
            mine = self._hosts.setdefault(host, _Host())
            mine.address = address
        return Station(self, host, {"address": address, "key": mine.key})

    def begin(self, host: str) -> None:
        """Say, once a run, that artifacts are passed on."""
        with self._changed:
            first, self._said = not self._said, True
        if first:
            away = f"{self._nearest * 1000:.0f} ms away at the nearest"
            why = away if self._policy == "auto" else "as artifacts.relay says"
            self._tell(host, f"{why}: each artifact is sent once, and passed on from node to node")

    def way(self, host: str, sha256: str) -> str | Hold | None:
        """Return the node that gives this artifact to the host; None: we send it; a Hold if it is on its way to one."""
        with self._changed:
            copies = self._copies.setdefault(sha256, _Copies())
            me = self._hosts[host]
            if len(me.missed) < MISSES:
                givers = [other for other in copies.held if self._hosts[other].gives and other not in me.missed]
                source = min(givers, key=lambda other: copies.held[other], default="")
                if source and copies.held[source] < SERVED:
                    copies.held[source] += 1
                    return source
                if source or self._comes(copies, host):
                    self._changed.wait(LOOK)
                    return Hold.OTHERS
            copies.coming[host] = time.monotonic()
            return None

    def _comes(self, copies: _Copies, host: str) -> bool:
        late = time.monotonic() - STALLED
        return any(
            since > late and self._hosts[other].gives and other not in self._hosts[host].missed
            for other, since in copies.coming.items()
            if other != host
        )

    def ticket(self, host: str, source: str, artifact: Artifact) -> dict[str, Any]:
        """Return what gets this artifact to the host, once."""
        with self._changed:
            giver, own = self._hosts[source], self._hosts[host].address
        digest, number = bytes.fromhex(artifact.sha256), secrets.token_bytes(16)
        paper = digest + number + seal(bytes.fromhex(giver.key), digest, number, own)
        where = {"address": giver.address, "port": giver.port, "own": own, "patience": PATIENCE}
        return {**where, "size": artifact.size, "paper": paper.hex()}

    def gave(self, host: str, source: str, artifact: Artifact, answer: dict[str, Any] | None) -> bool:
        """Note how it went (None: the host was lost before it said so), and return whether the host has it."""
        missed = answer is not None and answer["event"] == "missed"
        with self._changed:
            held = self._copies[artifact.sha256].held
            if source in held:  # or it has left meanwhile: through with its phases, or lost
                held[source] -= 1
                if answer and missed:
                    self._hosts[host].missed.add(source)
                    self._hosts[source].gives = self._hosts[source].gives and not answer["wrong"]
            self._changed.notify_all()
        if answer and missed:
            self._tell(host, f"does not get {artifact.name} from {source}, and takes another way: {answer['why']}")
        return not missed

    def has(self, host: str, sha256: str, port: int) -> None:
        """Note that the host has it, and gives it on at this port (0: it cannot)."""
        with self._changed:
            copies, mine = self._copies.setdefault(sha256, _Copies()), self._hosts[host]
            copies.coming.pop(host, None)
            if port:
                mine.port = port
                copies.held.setdefault(host, 0)
            else:
                mine.gives = False
            self._changed.notify_all()

    def moves(self, host: str) -> None:
        """Note that what is on its way to the host gets on."""
        with self._changed:
            for copies in self._copies.values():
                if host in copies.coming:
                    copies.coming[host] = time.monotonic()

    def stops(self, host: str, *, gone: bool) -> None:
        """Note that nothing is on its way to the host any more; if it is gone, it gives nothing either."""
        with self._changed:
            for copies in self._copies.values():
                copies.coming.pop(host, None)
                if gone:
                    copies.held.pop(host, None)
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class Station:
    """A node's place in the relay, for one act; `card` is what its agent is told."""

    relay: Relay
    host: str
    card: dict[str, str] = field(repr=False)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Be part of it while the block runs; what is on its way to this node then ends with the block."""
        try:
            yield
        except StepError:  # its agent lives, and gives what it has
            self.relay.stops(self.host, gone=False)
            raise
        except BaseException:
            self.relay.stops(self.host, gone=True)
            raise
        self.relay.stops(self.host, gone=False)

    def moves(self) -> None:
        """Say that the node takes what is sent."""
        self.relay.moves(self.host)

    def has(self, sha256: str, port: int) -> None:
        """Say that the node has an artifact."""
        self.relay.has(self.host, sha256, port)

    def parcel(self, artifact: Artifact, direct: Cargo) -> Parcel:
        """Return this artifact as what goes with a request, `direct` if it comes from here."""
        self.relay.begin(self.host)
        return Parcel(self, artifact, direct)


class Parcel:
    """One artifact on its way to one node."""

    def __init__(self, station: Station, artifact: Artifact, direct: Cargo) -> None:
        self._relay, self._host = station.relay, station.host
        self._artifact = artifact
        self._direct = direct
        self._answers: list[dict[str, Any]] = []
        self.encoding = direct.encoding

    def frames(self, exchange: int) -> Iterator[bytes | Hold]:
        """Give its pieces, or tickets until one was good."""
        while source := self._relay.way(self._host, self._artifact.sha256):
            if isinstance(source, Hold):
                yield source
                continue
            answer = None
            try:
                yield pack_ticket(exchange, self._relay.ticket(self._host, source, self._artifact))
                while not self._answers:
                    yield Hold.ANSWER
                answer = self._answers.pop()
            finally:
                had = self._relay.gave(self._host, source, self._artifact, answer)
            if had:
                return
        for piece in self._direct.frames(exchange):
            self._relay.moves(self._host)
            yield piece

    def heard(self, event: dict[str, Any]) -> None:
        """Hear what came of a ticket."""
        if event["event"] in {"fetched", "missed"}:
            self._answers.append(event)
