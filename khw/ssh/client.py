"""The operator's end of an agent: requests out, payloads streamed, events in."""

from __future__ import annotations

import getpass
import io
import math
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self

from khw.agent import bundle
from khw.agent.wire import (
    CHUNK,
    DATA,
    HEADER,
    SILENCE,
    WINDOW,
    BrokenStreamError,
    Frame,
    pack,
    pack_message,
    read_frame,
)
from khw.cluster.model import Facts
from khw.errors import StepError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from khw.secret import Secret


class Channel(Protocol):
    """Bytes to and from the agent's process."""

    def send(self, data: bytes, timeout: float) -> None:
        """Send all of `data`; TimeoutError if the other end takes nothing for so long, OSError if it is gone."""

    def receive(self, limit: int, timeout: float) -> bytes:
        """Return what there is, at least a byte; b'' at the end; TimeoutError."""

    def ready(self) -> bool:
        """Whether `receive` would return at once."""

    def last_words(self) -> str:
        """Return what the process said on standard error, once it has ended."""

    def close(self) -> None:
        """Close; on the node, the agent ends and kills what it runs."""


@dataclass(frozen=True, slots=True)
class RemoteCommand:
    """A command for a node. A secret goes to `stdin`, never to `argv`."""

    argv: tuple[str, ...]
    stdin: bytes | None = field(default=None, repr=False)
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command on a node ended: 124 timed out, 126 not executable, 127 not found."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class FileState:
    """What is at a path of a node: file, directory, link, other or absent."""

    path: str
    kind: str
    mode: int = 0
    owner: str = ""
    size: int = 0
    sha256: str = ""
    mtime: float = 0.0


class Hold(Enum):
    """Why there is no frame of a payload to send just now."""

    ANSWER = "the node says first what came of the last one"
    OTHERS = "what is on its way to another node is waited for"


class Cargo(Protocol):
    """What goes with a request: a `Payload`, or one that may come from another node (`khw.ssh.relay`)."""

    @property
    def encoding(self) -> str:
        """'' or gzip or zstd."""

    def frames(self, exchange: int) -> Iterator[bytes | Hold]:
        """Give the frames, each when it is asked for."""

    def heard(self, event: dict[str, Any]) -> None:
        """Hear what the node said while these were the frames."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes that go with a request, encoded '' or gzip or zstd; opened when it is their turn."""

    open: Callable[[], BinaryIO] = field(repr=False)
    encoding: str = ""
    size: int = 0  # as they are sent, if it is known

    @classmethod
    def of(cls, data: bytes) -> Payload:
        """Return these bytes as a payload."""
        return cls(lambda: io.BytesIO(data), size=len(data))

    def frames(self, exchange: int) -> Iterator[bytes]:
        """Give the frames: the pieces, and an empty one."""
        with self.open() as source:
            for piece in iter(lambda: source.read(CHUNK), b""):
                yield pack(DATA, exchange, piece)
        yield pack(DATA, exchange, b"")

    def heard(self, event: dict[str, Any]) -> None:
        """Nothing depends on it."""


class Agent:
    """
    The agent of one node, over one channel.

    Requests go one at a time; threads wait for each other. After an UnreachableError the channel is closed.
    """

    def __init__(
        self,
        name: str,
        channel: Channel,
        *,
        timeout: float,
        places: Mapping[str, str] | None = None,
        sudo: Secret | None = None,
    ) -> None:
        self.name = name
        self.round_trips = 0
        self.bytes_sent = 0
        self.bytes_relayed = 0  # that this node had from others
        self.distance = math.inf  # seconds of the quickest exchange, less what it took on the node
        self.facts = Facts()
        self.skew = 0.0  # seconds that the node's clock was ahead of ours when the agent started
        self.run_id = ""  # of the run that this is part of: the node's lock names it
        self._channel = channel
        self._buffer = bytearray()
        self._lock = threading.RLock()
        self._exchanges = 0
        self._hello(timeout, dict(places or {}), sudo)

    def run(self, *commands: RemoteCommand, timeout: float = 120.0) -> list[Completed]:
        """Run commands one after another, in one exchange; that one fails does not stop the next."""
        rows = [{"argv": c.argv, "timeout": c.timeout, "payload": c.stdin is not None} for c in commands]
        payloads = [Payload.of(c.stdin) for c in commands if c.stdin is not None]
        end = self.exchange({"do": "run", "commands": rows, "timeout": timeout}, payloads, deadline=timeout + SILENCE)
        return [Completed(c.argv, *result) for c, result in zip(commands, end["results"], strict=True)]

    def stat(self, paths: Sequence[str], *, digest: bool = True) -> list[FileState]:
        """Return what is at these paths."""
        end = self.exchange({"do": "stat", "paths": list(paths), "digest": digest})
        return [FileState(path, **state) for path, state in zip(paths, end["states"], strict=True)]

    def read(self, path: str) -> bytes:
        """Return a file's content."""
        data = bytearray()
        self.exchange({"do": "read", "path": path}, on_data=data.extend)
        return bytes(data)

    def probe(self, specs: Sequence[Mapping[str, Any]], *, record: bool = True) -> list[dict[str, Any]]:
        """Return the states of resources (specs: `khw.converge.compare`); without `record` the node writes nothing."""
        request = {"do": "probe", "specs": list(specs), "record": record}
        states: list[dict[str, Any]] = self.exchange(request)["states"]
        return states

    def act(
        self,
        ops: Sequence[Mapping[str, Any]],
        payloads: Sequence[Cargo] = (),
        *,
        on_done: Callable[[dict[str, Any]], None],
        on_bytes: Callable[[int], None] | None = None,
        relay: Mapping[str, str] | None = None,
    ) -> None:
        """
        Do these, in order; `on_done` hears of each at once, `on_bytes` of what the node has taken.

        `relay` lets the node pass artifacts on (`khw.ssh.relay`).
        """

        def event(message: dict[str, Any]) -> None:
            if message["event"] == "done":
                on_done(message)
            elif message["event"] == "taken" and on_bytes:
                on_bytes(message["bytes"])
            elif message["event"] == "fetched":
                self.bytes_relayed += message["bytes"]

        request = {"do": "act", "ops": list(ops), "run": self.run_id, "relay": dict(relay or {})}
        self.exchange(request, payloads, on_event=event)

    def exchange(
        self,
        request: Mapping[str, Any],
        payloads: Sequence[Cargo] = (),
        *,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        on_data: Callable[[bytes], None] | None = None,
        deadline: float | None = None,
    ) -> dict[str, Any]:
        """Send a request and its payloads, and return the agent's last event; StepError if that says 'failed'."""
        with self._lock:
            self._exchanges += 1
            self.round_trips += 1
            limit = None if deadline is None else time.monotonic() + deadline
            try:
                return self._converse(request, payloads, _Ears(on_event, on_data), limit, SILENCE)
            except TimeoutError:
                self.kill()
                raise UnreachableError(
                    f"no sign of life for {SILENCE:g} s",
                    node=self.name,
                    hint="is the machine up, and its network? A run with --failed takes it up again",
                ) from None
            except (OSError, EOFError, BrokenStreamError) as error:
                said = self._channel.last_words()
                self.kill()
                raise UnreachableError(
                    f"the connection was lost: {said or str(error) or 'closed at the far end'}",
                    node=self.name,
                    hint="did the machine stop or restart? A run with --failed takes it up again",
                ) from None

    def close(self) -> None:
        """Close the channel; the agent ends."""
        self._channel.close()

    def kill(self) -> None:
        """Close the channel at once, from any thread: the agent kills what it runs, and ends."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _hello(self, timeout: float, places: dict[str, str], sudo: Secret | None) -> None:
        operator = f"{getpass.getuser()}@{socket.gethostname()} process {os.getpid()}"
        hello = {"do": "hello", "operator": operator, "places": places}
        try:
            if sudo:
                self._send(bundle.preamble(sudo.reveal()), timeout)
            self._send(bundle.source(), timeout)
            end = self._converse(hello, (), _Ears(), None, timeout)
        except TimeoutError:
            self.kill()
            raise UnreachableError(f"the agent did not start within {timeout:g} s", node=self.name) from None
        except (OSError, EOFError):
            said = self._channel.last_words()
            self.kill()
            raise _unfit(self.name, said) from None
        except BrokenStreamError:
            self.kill()
            raise StepError(
                "something else than the agent answered",
                node=self.name,
                hint="does the login's shell print something when it starts? It must not, for commands",
            ) from None
        self.facts = Facts(**end["facts"])
        self.skew = self.facts.clock - time.time()

    def _converse(
        self,
        request: Mapping[str, Any],
        payloads: Sequence[Cargo],
        ears: _Ears,
        limit: float | None,
        silence: float,
    ) -> dict[str, Any]:
        began = time.monotonic()
        self._send(pack_message(self._exchanges, dict(request)), silence)
        ahead = _Ahead(payloads, self._exchanges)
        try:
            while True:
                self._feed(ahead, silence)
                frame = self._frame(silence, limit)
                if frame.exchange != self._exchanges:
                    continue
                if frame.kind == DATA:
                    if ears.data:
                        ears.data(frame.body)
                    continue
                message = frame.message()
                if message["event"] == "alive":
                    self._send(pack_message(self._exchanges, {}), silence)
                elif message["event"] == "end":
                    self.distance = min(self.distance, max(0.0, time.monotonic() - began - message["took"]))
                    return message
                elif message["event"] == "failed":
                    raise _failure(self.name, message)
                else:
                    ahead.heard(message)
                    if ears.event:
                        ears.event(message)
        finally:
            ahead.close()

    def _feed(self, ahead: _Ahead, silence: float) -> None:
        """Send what there is to send, until the node says something, or until only its word can bring this on."""
        deadline = time.monotonic() + silence
        while ahead.may_send and not self._buffer and not self._channel.ready():
            piece = ahead.next()
            if isinstance(piece, bytes):
                self._send(piece, silence)
                deadline = time.monotonic() + silence
            elif piece is Hold.ANSWER:
                return
            elif time.monotonic() > deadline:
                raise TimeoutError

    def _send(self, data: bytes, timeout: float) -> None:
        self._channel.send(data, timeout)
        self.bytes_sent += len(data)

    def _frame(self, silence: float, limit: float | None) -> Frame:
        if limit is not None and time.monotonic() > limit:
            self.kill()
            raise StepError("the commands did not end in time", node=self.name)
        return read_frame(lambda length: self._exactly(length, silence))

    def _exactly(self, length: int, timeout: float) -> bytes:
        while len(self._buffer) < length:
            data = self._channel.receive(CHUNK, timeout)
            if not data:
                raise EOFError
            self._buffer += data
        piece = bytes(self._buffer[:length])
        del self._buffer[:length]
        return piece


@dataclass(frozen=True, slots=True)
class _Ears:
    """Who hears of an exchange's events and data."""

    event: Callable[[dict[str, Any]], None] | None = None
    data: Callable[[bytes], None] | None = None


class _Ahead:
    """The frames of an exchange's payloads; no more than WINDOW bytes go ahead of what the node has taken."""

    def __init__(self, payloads: Sequence[Cargo], exchange: int) -> None:
        self._left = list(reversed(payloads))
        self._exchange = exchange
        self._cargo: Cargo | None = None
        self._frames: Iterator[bytes | Hold] = iter(())
        self._ahead = 0

    @property
    def may_send(self) -> bool:
        return bool(self._cargo or self._left) and self._ahead < WINDOW

    def next(self) -> bytes | Hold:
        while True:
            for piece in self._frames:
                if isinstance(piece, bytes) and piece[:1] == DATA:
                    self._ahead += len(piece) - HEADER.size
                return piece
            self._cargo = self._left.pop() if self._left else None
            if self._cargo is None:
                return Hold.ANSWER
            self._frames = self._cargo.frames(self._exchange)

    def heard(self, event: dict[str, Any]) -> None:
        if event["event"] == "taken":
            self._ahead -= event["bytes"]
        if self._cargo:
            self._cargo.heard(event)

    def close(self) -> None:
        close = getattr(self._frames, "close", None)
        if close:
            close()


def _unfit(node: str, said: str) -> StepError | UnreachableError:
    """Return the error for a node on which the agent cannot start."""
    last = (said.strip().splitlines() or [""])[-1]
    if "khw needs" in said:
        problem, hint = last, "install the distribution's full Python 3: apt-get install python3"
    elif "python3" in said and "not found" in said:
        problem, hint = "there is no python3 on this node", "install it: apt-get install python3"
    elif "sudo" in said and "not found" in said:
        problem, hint = "there is no sudo on this node", "install sudo, or let khw log in as root (ssh: user: root)"
    elif "sudo does not take the password" in said:
        problem = "sudo does not take the password that was given"
        hint = "is it this user's own on this node, and may this user use sudo? (`sudo -l` there)"
    elif "sudo" in said:
        problem = f"sudo does not let this login become root without a password: {last}"
        hint = (
            "on the node, as root: echo 'USER ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/khw; "
            "or give khw the password: sudo: password in khw.yaml's section ssh"
        )
    else:
        return UnreachableError(f"the agent ended as soon as it started: {last or 'it said nothing'}", node=node)
    return StepError(problem, node=node, hint=hint, evidence=said.strip())


def _failure(node: str, message: dict[str, Any]) -> StepError:
    what = f"{message['id']}: {message['message']}" if message.get("id") else message["message"]
    return StepError(what, node=node, evidence=message.get("evidence", ""), hint=message.get("hint", ""))
