"""Ctrl-C with a real process and real signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from khw import interrupt
from khw.errors import CutOffError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Three lanes: one in a loop that asks, one in a child, one in a call that nothing can end; presses are told on stdout.
LANES = """
import os, sys, time, threading
from nornir.core import Nornir
from nornir.core.inventory import Defaults, Groups, Host, Hosts, Inventory
from nornir.core.task import Result
from khw import interrupt
from khw.engine.runner import LaneRunner

STEP = float(sys.argv[1])
HOSTS = sys.argv[2].split(",")

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # at once: lanes speak side by side

def work(task):
    what = task.host.name
    say("begins", what)
    if what == "short":
        time.sleep(STEP)
    elif what == "loop":
        while True:
            interrupt.pause(0.05)
    elif what == "child":
        interrupt.run(["sh", "-c", "sleep 61 & echo $! > child; wait"], timeout=60)
    elif what == "deaf":
        time.sleep(60)
    say("ends", what)
    return Result(host=task.host)

inventory = Inventory(Hosts({n: Host(n) for n in HOSTS}), Groups(), Defaults())
with interrupt.listening(lambda n: say("press", n)):
    try:
        Nornir(inventory, runner=LaneRunner(3)).run(task=work)
    finally:
        say("over")
interrupt.leave(130 if interrupt.pressed() else 0)
"""


def gone(pid: str) -> bool:
    """Whether the process has ended, reaped or not; a moment later at the latest."""
    for _ in range(100):
        try:
            if " Z " in Path(f"/proc/{pid}/stat").read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


class Lanes:
    def __init__(self, folder: Path, *hosts: str, step: float = 0.5) -> None:
        argv = [sys.executable, "-c", LANES, str(step), ",".join(hosts)]
        self.process = subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []

    def until(self, line: str) -> None:
        assert self.process.stdout
        while line not in self.lines:
            read = self.process.stdout.readline()
            assert read, f"it ended before {line!r}: {self.lines}"
            self.lines.append(read.strip())

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, timeout: float = 10) -> tuple[int, float]:
        """Return the exit code, and how long it took from now."""
        began = time.monotonic()
        out, _ = self.process.communicate(timeout=timeout)
        self.lines += out.split("\n")
        return self.process.returncode, time.monotonic() - began


@pytest.fixture
def running() -> Iterator[list[Lanes]]:
    started: list[Lanes] = []
    yield started
    for lanes in started:
        lanes.process.kill()
        lanes.process.communicate()


def lanes(running: list[Lanes], folder: Path, *hosts: str, **options: float) -> Lanes:
    it = Lanes(folder, *hosts, **options)
    running.append(it)
    return it


def test_the_first_press_lets_steps_end_and_begins_nothing(running: list[Lanes], tmp_path: Path) -> None:
    run = lanes(running, tmp_path, "short", "a", "b", "c", step=1.0)
    run.until("begins short")
    run.send(signal.SIGINT)
    code, _ = run.end()
    assert code == 130
    assert "ends short" in run.lines
    assert "press 2" not in run.lines


def test_the_second_press_ends_loops_and_children_at_once(running: list[Lanes], tmp_path: Path) -> None:
    run = lanes(running, tmp_path, "loop", "child")
    run.until("begins child")
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().strip():
        time.sleep(0.01)
    run.send(signal.SIGINT)
    run.until("press 1")
    run.send(signal.SIGINT)
    code, seconds = run.end()
    assert (code, "over" in run.lines) == (130, True)
    assert seconds < interrupt.GRACE, "they heard of it: nobody was left behind"
    assert gone((tmp_path / "child").read_text().strip())


def test_what_does_not_hear_is_left_behind_a_moment_later(running: list[Lanes], tmp_path: Path) -> None:
    run = lanes(running, tmp_path, "deaf")
    run.until("begins deaf")
    run.send(signal.SIGINT)
    run.until("press 1")
    run.send(signal.SIGINT)
    code, seconds = run.end()
    assert (code, "over" in run.lines, "ends deaf" in run.lines) == (130, True, False)
    assert seconds < interrupt.GRACE + 3


def test_the_third_press_leaves_at_once(running: list[Lanes], tmp_path: Path) -> None:
    run = lanes(running, tmp_path, "deaf")
    run.until("begins deaf")
    for press in (1, 2):
        run.send(signal.SIGINT)
        run.until(f"press {press}")
    run.send(signal.SIGINT)
    code, seconds = run.end()
    assert code == 130
    assert seconds < 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_asked_to_go_is_a_second_press(running: list[Lanes], tmp_path: Path, number: signal.Signals) -> None:
    run = lanes(running, tmp_path, "loop")
    run.until("begins loop")
    run.send(number)
    code, seconds = run.end()
    assert (code, "press 2" in run.lines) == (130, True)
    assert seconds < interrupt.GRACE


def test_a_command_has_a_limit_and_takes_its_children_with_it(tmp_path: Path) -> None:
    seen = tmp_path / "pid"
    with pytest.raises(subprocess.TimeoutExpired):
        interrupt.run(["sh", "-c", f"sleep 61 & echo $! > {seen}; wait"], timeout=0.5)
    assert gone(seen.read_text().strip())


def test_a_command_says_how_it_ended() -> None:
    done = interrupt.run(["sh", "-c", "cat; echo no >&2; exit 3"], stdin=b"fed", timeout=10)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"fed", b"no\n")


def test_nothing_is_begun_once_everything_was_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    presses = interrupt._Presses()
    monkeypatch.setattr(interrupt, "_presses", presses)
    heard: list[str] = []
    with interrupt.ends_by(lambda: heard.append("early")):
        presses.end()
        with interrupt.ends_by(lambda: heard.append("late")):
            pass
    assert heard == ["early", "late"]
    for what in (lambda: interrupt.run(["true"], timeout=1), lambda: interrupt.pause(9), interrupt.raise_if_ended):
        with pytest.raises(CutOffError):
            what()
