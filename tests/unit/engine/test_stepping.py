"""`khw run --step`: asked once a phase, by whoever comes first; quitting is Ctrl-C pressed once."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from khw import interrupt
from khw.engine.gates import Cancelled
from khw.engine.phases import select
from khw.engine.stepping import QUESTION, Stepper

if TYPE_CHECKING:
    from collections.abc import Iterator

ETCD, RBAC = select(["etcd", "rbac"])


@dataclass
class Terminal:
    """What a person types, and what is said to them."""

    typed: int
    stepper: Stepper
    said: list[str] = field(default_factory=list)

    def type(self, text: str) -> None:
        os.write(self.typed, text.encode())

    def asked(self) -> list[str]:
        return [text.strip() for text in self.said if text.startswith("\nabout")]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    reading, writing = os.pipe()
    with os.fdopen(reading) as answers:
        stepper = Stepper(
            describe=lambda phase, host: f"about {phase.name} on {host}",
            script=lambda phase, host: f"echo {phase.name} on {host}",
            answers=answers,
        )
        it = Terminal(writing, stepper)
        stepper.say = it.said.append
        yield it
        os.close(writing)


def test_a_phase_is_asked_for_once_whoever_comes_to_it(terminal: Terminal) -> None:
    terminal.type("y\n")
    for host in ("controller-0", "controller-1", "controller-2"):
        terminal.stepper(ETCD, host)
    assert terminal.asked() == ["about etcd on controller-0"]


def test_each_phase_is_asked_for_and_enter_is_a_yes(terminal: Terminal) -> None:
    terminal.type("\n")
    terminal.stepper(ETCD, "controller-0")
    terminal.type("\n")
    terminal.stepper(RBAC, "controller-1")
    assert terminal.asked() == ["about etcd on controller-0", "about rbac on controller-1"]


def test_the_shell_is_shown_and_it_is_asked_again(terminal: Terminal) -> None:
    terminal.type("s\n")
    waiting = threading.Thread(target=terminal.stepper, args=(ETCD, "controller-0"))
    waiting.start()
    while waiting.is_alive() and not any("echo etcd" in text for text in terminal.said):
        waiting.join(0.01)
    assert waiting.is_alive()
    terminal.type("y\n")
    waiting.join(10)
    assert not waiting.is_alive()


def test_all_the_rest_is_not_asked_for(terminal: Terminal) -> None:
    terminal.type("a\n")
    terminal.stepper(ETCD, "controller-0")
    terminal.stepper(RBAC, "controller-0")
    assert terminal.asked() == ["about etcd on controller-0"]


def test_hosts_that_wait_for_an_answer_go_on_with_it(terminal: Terminal) -> None:
    with ThreadPoolExecutor() as pool:
        hosts = [pool.submit(terminal.stepper, ETCD, f"controller-{n}") for n in range(3)]
        terminal.type("y\n")
        assert [host.result(10) for host in hosts] == [None] * 3
    assert len(terminal.asked()) == 1


@pytest.mark.parametrize("answer", ["q\n", "n\n"])
def test_no_is_ctrl_c_pressed_once_for_everybody(terminal: Terminal, answer: str) -> None:
    presses: list[int] = []
    with interrupt.listening(presses.append), ThreadPoolExecutor() as pool:
        hosts = [pool.submit(terminal.stepper, ETCD, f"controller-{n}") for n in range(2)]
        terminal.type(answer)
        ended = [_cancelled(host) for host in hosts]
    assert ended == [True, True]
    assert presses == [1]


def test_ctrl_c_ends_a_question(terminal: Terminal) -> None:
    import signal

    with interrupt.listening(), ThreadPoolExecutor() as pool:
        host = pool.submit(terminal.stepper, ETCD, "controller-0")
        while not terminal.asked():
            pass
        os.kill(os.getpid(), signal.SIGINT)
        assert _cancelled(host)


def _cancelled(host: Any) -> bool:
    try:
        host.result(10)
    except Cancelled:
        return True
    return False


def test_the_text_ends_its_lines_between_words_at_the_terminals_width(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal.stepper.describe = lambda phase, host: f"{phase.name} on {host}\n  {'word ' * 30}"
    terminal.type("y\n")
    terminal.stepper(ETCD, "controller-0")
    lines = terminal.said[0].strip().splitlines()
    assert lines[0] == "etcd on controller-0"
    assert all(line.startswith("  word") and line.endswith("word") and len(line) < 40 for line in lines[1:])
    assert sum(line.count("word") for line in lines) == 30


def test_what_others_do_meanwhile_is_said_after_the_answer(terminal: Terminal) -> None:
    said = terminal.stepper.say
    told = terminal.stepper.after_answers(lambda event: said(str(event)))
    told("before")  # type: ignore[arg-type]  # any event: it is passed on as it is
    waiting = threading.Thread(target=terminal.stepper, args=(ETCD, "controller-0"))
    waiting.start()
    while waiting.is_alive() and QUESTION not in terminal.said:
        waiting.join(0.01)
    told("meanwhile")  # type: ignore[arg-type]  # likewise
    assert terminal.said[-1] == QUESTION
    terminal.type("y\n")
    waiting.join(10)
    told("after")  # type: ignore[arg-type]  # likewise
    assert [text for text in terminal.said if not text.startswith("\n")] == ["before", QUESTION, "meanwhile", "after"]
