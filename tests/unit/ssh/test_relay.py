"""Three nodes on one machine, each with a loopback address of its own, and what can go wrong between them."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from localnode import ME, LocalNode, LocalProcess, LocalStore

import khw.converge.compare
import khw.ssh.relay
from khw.agent import relay as node_side
from khw.converge.apply import converge
from khw.converge.resources import Binary, Command, File, Image
from khw.errors import KhwError, StepError, UnreachableError
from khw.ssh.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from khw.converge.changes import Change
    from khw.converge.resources import Resource
    from khw.ssh.client import Agent
    from khw.ssh.relay import Policy

SIZE = 3_000_000
HOSTS = ("a", "b", "c")
CONTENT = random.Random(1).randbytes(SIZE)  # noqa: S311 - any bytes do, if they cannot be compressed
OTHER = random.Random(2).randbytes(SIZE)  # noqa: S311


@dataclass
class Vpc:
    """The nodes, an agent on each, and the relay that they are part of."""

    root: Path
    store: LocalStore
    notices: list[str] = field(default_factory=list)
    nodes: dict[str, LocalNode] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    relay: Relay = field(init=False)

    def __post_init__(self) -> None:
        self.use("always")
        for number, name in enumerate(HOSTS, 2):
            (self.root / name).mkdir()
            self.nodes[name] = LocalNode(self.root / name)
            self.agents[name] = self.nodes[name].agent()
            self.addresses[name] = f"127.0.0.{number}"

    def use(self, policy: Policy) -> None:
        self.relay = Relay(policy, lambda host, text: self.notices.append(f"{host}: {text}"))

    def binary(self, name: str, host: str) -> Binary:
        return Binary(path=str(self.root / host / "bin" / name), artifact=name)

    def apply(self, host: str, *resources: Resource, distance: float = 0.0) -> list[Change]:
        return converge(
            self.agents[host],
            resources,
            cast("Any", self.store),
            node=host,
            station=lambda: self.relay.station(host, self.addresses[host], distance),
        )

    def install(self, *hosts: str, artifacts: Sequence[str] = ("kubelet",)) -> None:
        """Give these artifacts to these hosts, to all at once."""
        with ThreadPoolExecutor() as pool:
            jobs = [pool.submit(self.apply, host, *(self.binary(a, host) for a in artifacts)) for host in hosts]
        for job in jobs:
            job.result()

    def content(self, host: str, name: str = "kubelet") -> bytes:
        return (self.root / host / "bin" / name).read_bytes()

    @property
    def sent(self) -> int:
        return sum(agent.bytes_sent for agent in self.agents.values())

    @property
    def relayed(self) -> int:
        return sum(agent.bytes_relayed for agent in self.agents.values())


@pytest.fixture
def vpc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vpc]:
    monkeypatch.setattr(khw.converge.compare, "SUPERUSER", ME)
    (tmp_path / "artifacts").mkdir()
    store = LocalStore(tmp_path / "artifacts")
    for name, content in (("kubelet", CONTENT), ("etcd", OTHER)):
        (store.directory / name).write_bytes(content)
        store.compressed(store.get(name), "zstd")
    packed = {name: store.directory / f"{name}.zst" for name in ("kubelet", "etcd")}
    monkeypatch.setattr(store, "compressed", lambda artifact, _form: packed[artifact.name])
    it = Vpc(tmp_path, store)
    with ExitStack() as stack:
        for agent in it.agents.values():
            stack.callback(agent.close)
        yield it


def process_of(agent: Agent) -> Any:
    assert isinstance(agent._channel, LocalProcess)  # these are local processes, which is what the tests are about
    return agent._channel.process


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_each_artifact_crosses_the_operators_line_once(vpc: Vpc) -> None:
    before = vpc.sent
    vpc.install(*HOSTS, artifacts=("kubelet", "etcd"))
    assert [vpc.content(host) for host in HOSTS] == [CONTENT] * 3
    assert [vpc.content(host, "etcd") for host in HOSTS] == [OTHER] * 3
    assert vpc.sent - before < 2 * SIZE * 1.1
    assert vpc.relayed == 4 * SIZE
    assert len(vpc.notices) == 1
    assert "each artifact is sent once" in vpc.notices[0]


def test_who_has_it_from_another_node_gives_it_on(vpc: Vpc, monkeypatch: pytest.MonkeyPatch) -> None:
    vpc.install("a")
    vpc.install("b")
    vpc.agents["a"].close()
    vpc.relay.stops("a", gone=True)
    monkeypatch.setattr(vpc.store, "compressed_size", lambda *_: SIZE)  # that it would cross may be told
    monkeypatch.setattr(vpc.store, "compressed", lambda *_: pytest.fail("it crossed the line again"))
    vpc.install("c")
    assert vpc.content("c") == CONTENT


def test_near_nodes_get_everything_from_here(vpc: Vpc) -> None:
    vpc.use("auto")
    for host in HOSTS:
        vpc.apply(host, vpc.binary("kubelet", host), distance=0.002)
    assert (vpc.relayed, vpc.notices) == (0, [])


def test_a_node_that_was_slow_to_answer_is_not_far_where_another_is_near(vpc: Vpc) -> None:
    vpc.use("auto")
    vpc.apply("a", vpc.binary("kubelet", "a"), distance=0.002)
    vpc.apply("b", vpc.binary("kubelet", "b"), distance=0.03)
    vpc.apply("c", vpc.binary("kubelet", "c"), distance=0.03)
    assert (vpc.relayed, vpc.notices) == (0, [])


def test_far_nodes_have_it_from_each_other_unless_the_cluster_file_forbids_it(vpc: Vpc) -> None:
    vpc.use("never")
    vpc.apply("a", vpc.binary("kubelet", "a"), distance=0.1)
    vpc.apply("b", vpc.binary("kubelet", "b"), distance=0.1)
    assert vpc.relayed == 0
    vpc.use("auto")
    vpc.apply("a", vpc.binary("etcd", "a"), distance=0.1)
    vpc.apply("b", vpc.binary("etcd", "b"), distance=0.1)
    assert vpc.relayed == SIZE
    assert vpc.notices == ["a: 100 ms away at the nearest: each artifact is sent once, and passed on from node to node"]


def test_an_agent_knows_how_far_its_operator_is(vpc: Vpc) -> None:
    agent = vpc.agents["a"]
    assert agent.distance > 0.001, "so far it has only its own start to go by"
    agent.stat(["/"])
    assert agent.distance < 0.1
    channel = cast("Any", agent._channel)
    send, agent.distance = channel.send, 9.0
    channel.send = lambda data, timeout: (time.sleep(0.2), send(data, timeout))
    agent.run(khw.ssh.client.RemoteCommand(("sleep", "1")))
    assert 0.2 < agent.distance < 0.9, "what a node works is not distance"


def test_images_are_passed_on_too_and_nothing_is_left_on_the_disk(vpc: Vpc, monkeypatch: pytest.MonkeyPatch) -> None:
    (vpc.store.directory / "kubelet").write_text("pause:3.10")
    packed = LocalStore.compressed(vpc.store, vpc.store.get("kubelet"), "zstd")
    monkeypatch.setattr(vpc.store, "compressed", lambda *_: packed)
    for host in HOSTS:
        (change,) = vpc.apply(host, Image(artifact="kubelet", reference="pause:3.10"))
        assert change.action.value == "created"
        assert not list((vpc.root / host / "home").glob("*.tar"))
    assert vpc.relayed == 2 * len("pause:3.10")


def test_an_image_that_is_there_already_takes_no_ticket_to_its_end(vpc: Vpc) -> None:
    (vpc.store.directory / "kubelet").write_text("pause:3.10")
    vpc.store.compressed = LocalStore.compressed.__get__(vpc.store)  # type: ignore[method-assign]  # its own again
    image = Image(artifact="kubelet", reference="pause:3.10")
    vpc.apply("a", image)
    vpc.apply("b", image)
    socket_of_containerd = vpc.root / "b" / "containerd.sock"
    socket_of_containerd.unlink()
    start = Command(
        name="start", argv=("touch", str(socket_of_containerd)), unless=("test", "-e", str(socket_of_containerd))
    )
    relayed = vpc.relayed
    changes = vpc.apply("b", start, image, File(path=str(vpc.root / "b" / "after"), content="x", owner=ME))
    assert [change.action.value for change in changes] == ["ran", "unchanged", "created"]
    assert vpc.relayed == relayed


@dataclass
class Giver:
    """A node `x` that has the artifact, as far as the relay knows; `answer(peer)` is what it does when asked."""

    vpc: Vpc
    answer: Callable[[socket.socket], object]
    asked: int = 0

    @contextmanager
    def giving(self, artifact: str = "kubelet") -> Iterator[None]:
        with socket.create_server(("127.0.0.9", 0)) as listener:
            thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
            thread.start()
            assert self.vpc.relay.station("x", "127.0.0.9", 1.0)
            self.vpc.relay.has("x", self.vpc.store.digest(artifact), listener.getsockname()[1])
            yield

    def _serve(self, listener: socket.socket) -> None:
        with listener.accept()[0] as peer:
            peer.recv(1000)
            self.asked += 1
            with suppress(ConnectionError):  # who refuses what it is told hangs up in the middle
                self.answer(peer)


LENGTH = node_side.LENGTH.pack(SIZE)
WRONG_ANSWERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "ended too early"),
    "half of it": (LENGTH + CONTENT[: SIZE // 2], "ended too early"),
    "something else": (LENGTH + OTHER, "something else"),
    "a byte that is another": (LENGTH + CONTENT[:-1] + b"x", "something else"),
    "more than it is": (node_side.LENGTH.pack(1 << 40) + CONTENT, "bytes, not"),
}


@pytest.mark.parametrize("answer", WRONG_ANSWERS)
def test_what_another_node_gives_wrongly_is_refused_and_had_another_way(vpc: Vpc, answer: str) -> None:
    data, why = WRONG_ANSWERS[answer]
    giver = Giver(vpc, lambda peer: peer.sendall(data))
    with giver.giving():
        vpc.install("a")
    assert giver.asked == 1
    assert vpc.content("a") == CONTENT
    assert vpc.relayed == 0
    notice = vpc.notices[-1]
    assert notice.startswith("a: does not get kubelet from x, and takes another way: ")
    assert why in notice
    assert [p.name for p in (vpc.root / "a" / "bin").iterdir() if p.name.startswith(".")] == []


def test_who_gave_something_else_once_is_asked_by_nobody_any_more(vpc: Vpc) -> None:
    giver = Giver(vpc, lambda peer: peer.sendall(LENGTH + OTHER))
    with giver.giving():
        vpc.install("a")
        vpc.relay.stops("a", gone=True)
        began = time.monotonic()
        vpc.install("b")
    assert time.monotonic() - began < 5
    assert (giver.asked, len(vpc.notices)) == (1, 2)
    assert vpc.content("b") == CONTENT


def test_a_node_that_says_nothing_is_not_waited_for_long(vpc: Vpc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(khw.ssh.relay, "PATIENCE", 0.5)
    done = threading.Event()
    with Giver(vpc, lambda _peer: done.wait(20)).giving():
        began = time.monotonic()
        vpc.install("a")
        assert time.monotonic() - began < 5
        done.set()
    assert vpc.content("a") == CONTENT
    assert "timed out" in vpc.notices[-1]


def test_a_source_that_died_gives_way_to_the_next(vpc: Vpc) -> None:
    vpc.install("a")
    vpc.install("b")
    process_of(vpc.agents["a"]).kill()
    assert process_of(vpc.agents["a"]).wait(10)
    before = vpc.sent
    vpc.relay.has("b", vpc.store.digest("kubelet"), vpc.relay._hosts["b"].port)
    vpc.relay._copies[vpc.store.digest("kubelet")].held["b"] = 1  # busy, so that the dead one is asked first
    vpc.install("c")
    assert "from a, and takes another way" in vpc.notices[-1]
    assert vpc.content("c") == CONTENT
    assert vpc.sent - before < 10_000


def test_two_nodes_out_of_reach_are_enough_to_ask_no_third(vpc: Vpc) -> None:
    vpc.install("a", "b")
    vpc.relay._hosts["a"].port = vpc.relay._hosts["b"].port = 1  # as behind a firewall
    vpc.install("c")
    assert len(vpc.notices) == 3
    vpc.install("a", artifacts=("etcd",))
    before = vpc.sent
    vpc.install("c", artifacts=("etcd",))
    assert vpc.sent - before > SIZE
    assert len(vpc.notices) == 3
    assert vpc.content("c", "etcd") == OTHER


def test_nobody_waits_for_a_node_that_cannot_give(vpc: Vpc) -> None:
    vpc.addresses["a"] = "192.0.2.1"  # no address of this machine: nothing can listen there
    vpc.install("a")
    assert vpc.relay.way("a", "0" * 64) is None
    assert vpc.relay.station("b", "127.0.0.3", 1.0)
    assert vpc.relay.way("b", "0" * 64) is None, "it would wait for what a gives to nobody"
    vpc.relay.stops("b", gone=False)
    vpc.install("b", "c")
    assert [vpc.content(host) for host in HOSTS] == [CONTENT] * 3


def test_the_next_one_carries_on_if_the_first_fails_midway(vpc: Vpc) -> None:
    """The first node's disk is full, as its agent tells it."""
    place = vpc.root / "a" / "bin"
    under_way, awaited = threading.Event(), threading.Event()
    send = cast("Any", vpc.agents["a"]._channel).send

    def held(data: bytes, timeout: float) -> None:
        if vpc.relay._copies:
            under_way.set()
            awaited.wait(10)
        send(data, timeout)

    cast("Any", vpc.agents["a"]._channel).send = held
    pid = process_of(vpc.agents["a"]).pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (SIZE // 2, SIZE // 2))  # as a disk that is full halfway
    with ThreadPoolExecutor() as pool:
        first = pool.submit(vpc.install, "a")
        assert under_way.wait(10)
        others = pool.submit(vpc.install, "b", "c")
        assert eventually(lambda: {"b", "c"} <= set(vpc.relay._hosts))
        awaited.set()
        with pytest.raises(StepError, match="kubelet"):
            first.result()
        others.result()
    assert [vpc.content(host) for host in ("b", "c")] == [CONTENT] * 2
    assert vpc.relayed == SIZE
    assert not (place / "kubelet").exists()


def test_what_does_not_get_on_is_on_nobodys_way(vpc: Vpc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(khw.ssh.relay, "STALLED", 0.5)
    process_of(vpc.agents["a"]).send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        assert vpc.relay.station("a", "127.0.0.2", 1.0)
        assert vpc.relay.way("a", vpc.store.digest("kubelet")) is None
        job = pool.submit(vpc.install, "b")
        job.result(timeout=10)
    process_of(vpc.agents["a"]).send_signal(signal.SIGCONT)
    assert vpc.content("b") == CONTENT


def test_ctrl_c_ends_a_node_that_waits_for_another(vpc: Vpc) -> None:
    assert vpc.relay.station("a", "127.0.0.2", 1.0)
    assert vpc.relay.way("a", vpc.store.digest("kubelet")) is None
    with ThreadPoolExecutor() as pool:
        job = pool.submit(vpc.apply, "b", vpc.binary("kubelet", "b"))
        assert eventually(lambda: "b" in vpc.relay._hosts)
        time.sleep(0.3)  # it waits by now
        began = time.monotonic()
        vpc.agents["b"].kill()
        with pytest.raises(KhwError) as caught:
            job.result(timeout=10)
    assert isinstance(caught.value, UnreachableError)
    assert time.monotonic() - began < 3


def test_a_waiting_node_is_kept_alive_and_noticed_if_it_is_not(vpc: Vpc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(khw.ssh.client, "SILENCE", 3.5)
    assert vpc.relay.station("a", "127.0.0.2", 1.0)
    assert vpc.relay.way("a", vpc.store.digest("kubelet")) is None
    with ThreadPoolExecutor() as pool:
        job = pool.submit(vpc.apply, "b", vpc.binary("kubelet", "b"))
        time.sleep(4.5)
        assert not job.done(), "its signs of life were heard"
        process_of(vpc.agents["b"]).send_signal(signal.SIGSTOP)
        channel = cast("Any", vpc.agents["b"]._channel)
        close, channel.close = channel.close, lambda: None  # it cannot end while it is stopped
        with pytest.raises(UnreachableError, match="no sign of life"):
            job.result(timeout=10)
        channel.close = close
        channel.process.send_signal(signal.SIGCONT)


def test_a_node_that_is_lost_while_it_fetches_takes_no_place_for_ever(vpc: Vpc) -> None:
    vpc.install("a")
    station = vpc.relay.station("b", "127.0.0.3", 1.0)
    assert station
    kubelet = vpc.store.get("kubelet")
    for _ in range(khw.ssh.relay.SERVED + 1):
        frames = station.parcel(kubelet, khw.ssh.client.Payload.of(b"")).frames(1)
        assert cast("bytes", next(frames))[:1] == b"T"
        frames.close()  # type: ignore[attr-defined]  # they are a generator's
    vpc.install("c")
    assert vpc.relayed == SIZE


def ask(vpc: Vpc, ticket: dict[str, Any]) -> bytes:
    got = bytearray()
    node_side.fetch(ticket, got.extend)
    return bytes(got)


def test_a_ticket_is_good_once_for_one_node_and_one_file(vpc: Vpc) -> None:
    vpc.install("a", artifacts=("kubelet", "etcd"))
    assert vpc.relay.station("b", "127.0.0.3", 1.0)
    kubelet = vpc.store.get("kubelet")
    ticket = vpc.relay.ticket("b", "a", kubelet)
    paper = bytes.fromhex(ticket["paper"])
    other = bytes.fromhex(vpc.store.digest("etcd")) + paper[32:]
    for forged in (
        {**ticket, "own": "127.0.0.4"},
        {**ticket, "paper": other.hex()},
        {**ticket, "paper": (paper[:-1] + bytes([paper[-1] ^ 1])).hex()},
    ):
        with pytest.raises(node_side.MissedError, match="ended too early"):
            ask(vpc, forged)
    assert ask(vpc, ticket) == CONTENT
    with pytest.raises(node_side.MissedError, match="ended too early"):
        ask(vpc, ticket)


def test_nothing_listens_when_the_agent_is_gone_or_nothing_was_to_be_given(vpc: Vpc) -> None:
    vpc.install("a")
    assert vpc.relay.station("b", "127.0.0.3", 1.0)
    ticket = vpc.relay.ticket("b", "a", vpc.store.get("kubelet"))
    vpc.agents["a"].close()
    with pytest.raises(node_side.MissedError, match="cannot be reached"):
        ask(vpc, ticket)
    vpc.use("never")
    vpc.apply("b", vpc.binary("kubelet", "b"))
    opened = Path(f"/proc/{process_of(vpc.agents['b']).pid}/fd").iterdir()
    assert not [file for file in opened if str(file.readlink()).startswith("socket:")]


def test_secrets_are_never_given(vpc: Vpc) -> None:
    """Only artifacts go on the shelf: a listener is made with the first, and there is none."""
    path = vpc.root / "b" / "key"
    vpc.apply("b", File(path=str(path), content=os.urandom(100_000), mode=0o600, owner=ME))
    assert path.stat().st_size == 100_000
    assert vpc.relay._hosts["b"].port == 0


def test_the_key_of_a_station_shows_nowhere(vpc: Vpc) -> None:
    station = vpc.relay.station("a", "127.0.0.2", 1.0)
    assert station
    assert station.card["key"] not in repr(station) + repr(vpc.relay._hosts)
