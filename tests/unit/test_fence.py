"""The node's fence, with real agents as local processes."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from localnode import LocalNode, LocalProcess

from khw.errors import StepError, UnreachableError
from khw.ssh.client import Agent, RemoteCommand

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def node(tmp_path: Path) -> LocalNode:
    return LocalNode(tmp_path)


def command(script: str, *, unless: str = "false") -> dict[str, Any]:
    names = {"kind": "command", "id": "command:x", "argv": ["sh", "-c", script], "unless": ["sh", "-c", unless]}
    return {**names, "env": [], "payload": False, "timeout": 60}


def act(agent: Agent, script: str, run: str, *, unless: str = "false") -> None:
    agent.run_id = run
    agent.act([command(script, unless=unless)], on_done=lambda _: None)


def touch(agent: Agent, path: Path, run: str) -> None:
    act(agent, f"touch {path}", run, unless=f"test -e {path}")


def process(agent: Agent) -> LocalProcess:
    assert isinstance(agent._channel, LocalProcess)
    return agent._channel


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def begun(node: LocalNode, agent: Agent, run: str) -> tuple[threading.Thread, int]:
    """Have the agent run something long with a child of its own; return the pid of that child."""
    seen = node.root / f"pid-{run}"

    def work() -> None:
        with pytest.raises((UnreachableError, StepError)):
            act(agent, f"(trap '' TERM; echo $BASHPID >&2; exec sleep 61) & echo $! > {seen}; wait", run)

    thread = threading.Thread(target=work)
    thread.start()
    assert eventually(lambda: seen.exists() and seen.read_text().strip())
    return thread, int(seen.read_text())


def test_what_an_agent_that_was_killed_left_running_is_ended_before_the_next_run_acts(node: LocalNode) -> None:
    first = node.agent()
    thread, child = begun(node, first, "1")
    process(first).process.kill()  # not even the agent could end its child
    thread.join(10)
    assert not gone(child), "this is what a fence is for"
    with node.agent() as second:
        touch(second, node.root / "mark", "2")
        assert gone(child)


def test_a_run_that_is_alive_is_waited_for_and_named(node: LocalNode, monkeypatch: pytest.MonkeyPatch) -> None:
    patient(monkeypatch, PATIENCE="0.5")
    first = node.agent()
    thread, child = begun(node, first, "20261123T140000.000000Z")
    with node.agent() as second, pytest.raises(StepError, match=r"run 20261123T140000\.000000Z of \S+ process \d+"):
        touch(second, node.root / "mark", "2")
    assert not gone(child)
    first.kill()
    thread.join(10)
    assert eventually(lambda: gone(child))


def test_an_agent_that_hears_nobody_is_ended_with_what_it_runs(
    node: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch, UNHEARD="0.5")
    first = node.agent()
    thread, child = begun(node, first, "1")
    process(first).process.send_signal(signal.SIGSTOP)  # as one whose operator's machine was switched off
    with node.agent() as second:
        touch(second, node.root / "mark", "2")
    assert gone(child)
    thread.join(10)
    assert gone(process(first).process.pid)


def test_a_run_that_was_overtaken_acts_no_more(node: LocalNode) -> None:
    with node.agent() as first, node.agent() as second:
        touch(first, node.root / "a", "1")
        touch(first, node.root / "b", "1")
        touch(second, node.root / "c", "2")
        with pytest.raises(StepError, match="taken over by run 2"):
            touch(first, node.root / "d", "1")
        touch(second, node.root / "e", "2")
    assert not (node.root / "d").exists()


def test_checks_need_no_turn_and_are_not_ended(node: LocalNode) -> None:
    first = node.agent()
    thread, child = begun(node, first, "1")
    with node.agent() as looking:
        assert looking.run(RemoteCommand(("echo", "seen")))[0].out == "seen\n"
        assert looking.probe([{"kind": "file", "path": "/etc/passwd", "sha256": "", "text": False}])
        first.kill()
        thread.join(10)
        assert eventually(lambda: gone(child))
        slow = threading.Thread(
            target=lambda: answers.extend(
                looking.run(RemoteCommand(("sh", "-c", f"touch {going}; sleep 1; echo done")))
            )
        )
        answers: list[Any] = []
        going = node.root / "going"
        slow.start()
        assert eventually(going.exists)
        with node.agent() as second:
            touch(second, node.root / "mark", "2")
        slow.join(10)
        assert [answer.out for answer in answers] == ["done\n"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"number": "x"}', "process 1, for root"])
def test_a_lock_file_of_any_content_is_taken(node: LocalNode, text: str) -> None:
    path = Path(node.places["lock"])
    path.parent.mkdir()
    path.write_text(text)
    with node.agent() as agent:
        touch(agent, node.root / "mark", "7")
    holder = json.loads(path.read_text())
    assert (holder["number"], holder["run"]) == (1, "7")
    assert f"process {os.getpid()}" in holder["operator"]


def patient(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Have agents with other limits."""
    from khw.agent import bundle

    real = bundle.Path.read_text

    def read_text(path: Path, *args: Any, **kwargs: Any) -> str:
        text = real(path, *args, **kwargs)
        if path.name == "fence.py":
            for name, value in values.items():
                text = text.replace(f"\n{name} = ", f"\n{name} = {value} or ")
        return text

    monkeypatch.setattr(bundle.Path, "read_text", read_text)
    bundle.source.cache_clear()
    monkeypatch.setattr(bundle, "source", bundle.source.__wrapped__)
