from __future__ import annotations

import marshal
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from localnode import ME, LocalNode, LocalProcess

import khw.agent
import khw.ssh.client
from khw.agent import bundle
from khw.agent import node as node_side
from khw.converge.changes import Action
from khw.errors import StepError, UnreachableError
from khw.ssh.client import Agent, RemoteCommand

if TYPE_CHECKING:
    from collections.abc import Iterator

TRUE = RemoteCommand(("true",))


@pytest.fixture
def node(tmp_path: Path) -> LocalNode:
    return LocalNode(tmp_path)


@pytest.fixture
def agent(node: LocalNode) -> Iterator[Agent]:
    with node.agent() as agent:
        yield agent


def gone(pid: int) -> bool:
    """Whether the process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def eventually(condition: object, seconds: float = 5.0) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_hello_brings_facts(agent: Agent) -> None:
    assert agent.facts.cgroup in (1, 2)
    assert agent.facts.kernel == os.uname().release
    assert abs(agent.facts.clock - time.time()) < 5


def test_many_commands_are_one_exchange(agent: Agent) -> None:
    before = agent.round_trips
    fed, failed, missing = agent.run(
        RemoteCommand(("cat",), stdin=b"fed"), RemoteCommand(("false",)), RemoteCommand(("no-such-command",))
    )
    assert (fed.out, failed.code, missing.code) == ("fed", 1, 127)
    assert "no-such-command: command not found" in missing.err
    assert agent.round_trips == before + 1


def test_a_command_over_its_time_is_killed_with_its_children(agent: Agent) -> None:
    (late,) = agent.run(RemoteCommand(("sh", "-c", "sleep 60 & echo $!; wait"), timeout=0.3))
    assert late.code == 124
    assert "timed out after 0.3 s" in late.err
    assert eventually(lambda: gone(int(late.out)))


def test_stat_and_read(agent: Agent, tmp_path: Path) -> None:
    big = os.urandom(700_000)
    (tmp_path / "f").write_bytes(big)
    (tmp_path / "l").symlink_to("f")
    file, link, absent = agent.stat([str(tmp_path / n) for n in ("f", "l", "none")])
    assert (file.kind, file.size, file.owner, len(file.sha256)) == ("file", 700_000, ME, 64)
    assert (link.kind, absent.kind) == ("link", "absent")
    assert agent.read(str(tmp_path / "f")) == big
    with pytest.raises(StepError, match="cannot be read"):
        agent.read(str(tmp_path / "none"))


def test_what_runs_dies_with_the_operators_channel(node: LocalNode) -> None:
    agent = node.agent()
    pid_file = node.root / "pid"
    long = RemoteCommand(("sh", "-c", f"echo $$ > {pid_file}; sleep 60"), timeout=60)
    with pytest.raises(UnreachableError):  # noqa: PT012 - the kill has to come from another thread
        threading.Thread(target=_kill_when, args=(agent, pid_file)).start()
        agent.run(long)
    assert eventually(lambda: gone(int(pid_file.read_text())))


def _kill_when(agent: Agent, path: Path) -> None:
    assert eventually(lambda: path.exists() and path.read_text().strip())
    process = agent._channel  # the test is about the moment when it closes
    assert isinstance(process, LocalProcess)
    assert process.process.stdin
    process.process.stdin.close()


def test_two_agents_never_act_at_once(node: LocalNode) -> None:
    mark = node.root / "mark"
    slow = {
        "kind": "command",
        "id": "slow",
        "argv": ["sh", "-c", f"sleep 0.4; touch {mark}"],
        "unless": ["test", "-e", str(mark)],
        "env": [],
        "payload": False,
        "timeout": 5,
    }
    done: list[tuple[str, str]] = []
    with node.agent() as first, node.agent() as second:
        threads = [
            threading.Thread(
                target=agent.act, args=([slow],), kwargs={"on_done": lambda e, n=name: done.append((n, e["action"]))}
            )
            for name, agent in (("first", first), ("second", second))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(action for _, action in done) == ["ran", "unchanged"], "the second found it done"


def test_a_busy_node_gives_signs_of_life(node: LocalNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(khw.ssh.client, "SILENCE", 3.5)
    with node.agent() as agent:
        (slept,) = agent.run(RemoteCommand(("sleep", "4")))
    assert slept.code == 0


def test_a_silent_node_is_unreachable(node: LocalNode) -> None:
    agent = node.agent()
    channel = agent._channel  # stopped below, as a machine that hangs
    assert isinstance(channel, LocalProcess)
    channel.process.send_signal(19)
    receive = channel.receive
    channel.receive = lambda limit, timeout: receive(limit, 0.2)  # type: ignore[method-assign]  # 15 s are long
    try:
        with pytest.raises(UnreachableError, match="no sign of life"):
            # closing waits for the process, so it has to go on before
            _resume_after(agent, channel)
    finally:
        agent.close()


def _resume_after(agent: Agent, channel: LocalProcess) -> None:
    close = channel.close

    def resumed() -> None:
        channel.process.send_signal(18)
        close()

    channel.close = resumed  # type: ignore[method-assign]  # see the caller
    agent.run(TRUE)


def test_a_lost_agent_is_unreachable(node: LocalNode) -> None:
    agent = node.agent()
    assert isinstance(agent._channel, LocalProcess)  # ended below, as if the machine went away
    agent._channel.process.kill()
    with pytest.raises(UnreachableError, match="connection was lost"):
        agent.run(TRUE)
    agent.close()


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        ("sh: 1: exec: python3: not found", "no python3"),
        ("sudo: python3: command not found", "no python3"),
        ("sh: 1: exec: sudo: not found", "no sudo"),
        ("sudo: a password is required", "without a password"),
        ("khw needs Python 3.9 or later, this is 3.7.3", "needs Python 3.9"),
    ],
)
def test_a_node_that_cannot_start_the_agent_says_why(says: str, problem: str) -> None:
    class Silent:
        def send(self, data: bytes, timeout: float) -> None:
            pass

        def receive(self, limit: int, timeout: float) -> bytes:
            return b""

        def ready(self) -> bool:
            return False

        def last_words(self) -> str:
            return says

        def close(self) -> None:
            pass

    with pytest.raises(StepError, match=problem) as caught:
        Agent("worker-0", Silent(), timeout=1)
    assert caught.value.node == "worker-0"
    assert caught.value.hint


def test_the_agent_needs_only_the_standard_library_and_itself() -> None:
    modules = {path.stem for path in Path(khw.agent.__path__[0]).glob("*.py")} - {"__init__", "bundle"}
    assert set(bundle.MODULES) == modules
    code = f"import sys; sys.argv[1:] = ['/nonexistent', '0']; exec({bundle.BOOTSTRAP!r})"
    blocked = subprocess.run([sys.executable, "-ISc", code], input=b"", capture_output=True, check=False)
    assert b"Error" in blocked.stderr, "no source, no agent"


def test_an_agent_starts_from_what_the_last_one_kept_compiled(node: LocalNode) -> None:
    kept = node.root / "run/agent"
    with node.agent() as agent:
        agent.probe([], record=False)
        assert not kept.exists(), "who only looks writes nothing"
        agent.probe([], record=True)
    assert kept.stat().st_mode & 0o777 == 0o600
    version, source, modules = marshal.loads(kept.read_bytes())  # noqa: S302 - made by the line above
    assert (version, source) == (sys.version, bundle.source())
    told = compile("raise SystemExit('taken from there')", "kept", "exec")
    kept.write_bytes(marshal.dumps((version, source, [("wire", told), *modules])))
    with pytest.raises(UnreachableError, match="taken from there"):
        node.agent()


@pytest.mark.parametrize("held", [b"", b"no code", marshal.dumps(("3.9", bundle.source(), [])), marshal.dumps(7)])
def test_an_agent_compiles_its_own_code_where_what_is_kept_is_another_ones(node: LocalNode, held: bytes) -> None:
    kept = node.root / "run/agent"
    kept.parent.mkdir()
    kept.write_bytes(held)
    with node.agent() as agent:
        agent.probe([], record=True)
    version, source, _ = marshal.loads(kept.read_bytes())  # noqa: S302 - likewise
    assert (version, source) == (sys.version, bundle.source())


def test_the_actions_of_both_sides_are_the_same() -> None:
    names = [action.name for action in Action]
    assert [getattr(node_side, name) for name in names] == [action.value for action in Action]


def test_the_remote_command_holds_no_source_and_no_secret() -> None:
    assert len(bundle.remote_command()) < 2000
