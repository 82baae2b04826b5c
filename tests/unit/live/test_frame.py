"""Frames as rich prints them: at 80 and 120 columns, for many hosts, without signs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from khw.cluster.spec import Role, roles_of
from khw.converge.changes import Action, Change
from khw.engine.events import (
    BytesTaken,
    PhaseEnded,
    PhaseStarted,
    PhaseWaits,
    ResourceDone,
    ResourceStarted,
    RunStarted,
)
from khw.engine.phases import PHASES
from khw.engine.report import OPERATOR, Outcome, PhaseResult
from khw.errors import StepError
from khw.live.frame import Size, frame, together
from khw.live.model import Model

if TYPE_CHECKING:
    from khw.engine.events import Event

NAMES = ["pre", "too", "vm", "crt", "kub", "enc", "etc", "lb", "con", "rba", "run", "wkr", "ctl", "rou", "dns", "smo"]
CONTROLLERS = tuple(f"controller-{n}" for n in range(3))


def lane(role: Role | None) -> tuple[str, ...]:
    return tuple(
        phase.name
        for phase in PHASES
        if (phase.roles & roles_of(role, pods=False, also=None) if role else phase.operator)
    )


def started(workers: int = 3) -> RunStarted:
    names = [f"worker-{n}" for n in range(workers)]
    lanes = {OPERATOR: lane(None)} | dict.fromkeys(CONTROLLERS, lane(Role.CONTROLLER))
    lanes |= dict.fromkeys(names, lane(Role.WORKER))
    return RunStarted("1", tuple(lanes), tuple(phase.name for phase in PHASES), lanes)


def ended(host: str, phase: str, outcome: Outcome = Outcome.CHANGED) -> PhaseEnded:
    error = None if outcome.good else StepError("it did not start")
    return PhaseEnded(PhaseResult(host=host, phase=phase, outcome=outcome, started=0, ended=1, error=error))


MIDDLE: tuple[Event, ...] = (
    *(ended(OPERATOR, phase, Outcome.OK) for phase in ("prerequisites", "tools", "compute", "certificates")),
    ended("controller-0", "prerequisites", Outcome.OK),
    ended("controller-0", "certificates"),
    ResourceDone("controller-0", "certificates", Change(resource="file:/a", action=Action.CREATED)),
    PhaseStarted("controller-0", "etcd"),
    ResourceStarted("controller-0", "etcd", "unit:etcd.service"),
    ResourceStarted("worker-0", "runtime", "binary:/usr/local/bin/containerd", 40_000_000),
    BytesTaken("worker-0", "runtime", 24_000_000),
    PhaseWaits("worker-1", "workers", "control-plane on any controller", "control-plane", CONTROLLERS),
    ended("worker-2", "prerequisites", Outcome.UNREACHABLE),
)


def picture(*events: Event, columns: int, lines: int = 40, signs: bool = True, first: RunStarted | None = None) -> str:
    model = Model()
    for event in (first or started(), *events):
        model.apply(event, 10.0)
    console = Console(width=columns, file=io.StringIO(), record=True, force_terminal=True)
    size = Size(columns=columns, lines=lines, signs=signs)
    for line in frame(model, size, 17.0, expected=48.0):
        console.print(line, soft_wrap=True)
    return console.export_text()


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    lines = picture(*MIDDLE, columns=columns).splitlines()
    assert max(map(len, lines)) < columns
    assert lines == [line.rstrip() for line in lines]


@pytest.mark.parametrize("columns", [80, 120])
def test_it_says_what_each_host_does_what_it_waits_for_and_how_long_it_will_take(columns: int) -> None:
    shown = picture(*MIDDLE, columns=columns)
    rows = {line.split()[0]: line for line in shown.splitlines() if line}
    assert "0:07 of about 0:48" in shown
    assert "etcd starts etcd 7 s" in rows["controller-0"]
    assert "containerd 24/40 MB" in rows["worker-0"]
    assert "control-plane: controller-0,1,2" in rows["worker-1"], "who it waits for is never cut off"
    assert "unreachable" in rows["worker-2"]
    assert "1 changed" in shown


@pytest.mark.parametrize("name", ["kube-apiserver", "kube-controller-manager", "containerd-shim-runc-v2"])
def test_at_80_columns_how_much_of_a_file_is_sent_is_never_cut_off(name: str) -> None:
    begun = ResourceStarted("controller-1", "control-plane", f"binary:/usr/local/bin/{name}", 29_000_000)
    shown = picture(begun, BytesTaken("controller-1", "control-plane", 4_000_000), columns=80)
    assert f"{name} 4/29 MB" in shown


def test_colour_is_for_the_phase_and_not_for_all_that_is_said_of_it() -> None:
    model = Model()
    for event in (started(), *MIDDLE):
        model.apply(event, 10.0)
    line = next(x for x in frame(model, Size(columns=120, lines=40), 17.0) if x.plain.startswith("controller-0"))
    coloured = "".join(line.plain[span.start : span.end] for span in line.spans if span.style == "cyan")
    assert (coloured, str(line.style)) == ("etcd", "")


def test_at_120_columns_the_phases_have_names_and_at_80_their_chapters() -> None:
    wide, narrow = (picture(*MIDDLE, columns=columns).splitlines() for columns in (120, 80))
    assert wide[1].split() == NAMES
    assert narrow[2].split() == ["chapter", *"1234567890123"]
    assert narrow[1].split() == ["1"] * 4


def test_a_cell_stands_under_its_chapter() -> None:
    _, _, chapters, *rows = picture(*MIDDLE, columns=80).splitlines()
    row = next(line for line in rows if line.startswith("controller-0"))
    assert row[chapters.index("7")] == "▸"
    assert row[chapters.index("4")] == "●"
    assert row[chapters.index("3")] == " ", "chapter 3 is none of a controller's"


def test_more_hosts_than_lines_are_folded_and_the_quiet_ones_first() -> None:
    many = started(workers=200)
    events = [ended(f"worker-{n}", phase) for n in range(150) for phase in lane(Role.WORKER)]
    events += [PhaseStarted("worker-187", "runtime"), ended("worker-190", "prerequisites", Outcome.FAILED)]  # type: ignore[list-item]
    shown = picture(*events, columns=80, lines=24, first=many).splitlines()
    assert len(shown) <= 23
    assert any(line.startswith("worker-187") for line in shown)
    assert any(line.startswith("worker-190") and "failed" in line for line in shown)
    folded = next(line for line in shown if "more:" in line)
    assert "150 through" in folded
    hidden = int(folded.split()[0])
    assert hidden + sum(line.startswith(("worker", "controller", OPERATOR)) for line in shown) == 204


def test_a_terminal_without_signs_gets_ascii() -> None:
    assert picture(*MIDDLE, columns=80, signs=False).isascii()


@pytest.mark.parametrize(
    ("hosts", "text"),
    [
        (["controller-0", "controller-2"], "controller-0,2"),
        (["a1", "b1", "a12"], "a1,12 b1"),
        (["operator"], "operator"),
    ],
)
def test_names_that_differ_in_their_number_are_told_together(hosts: list[str], text: str) -> None:
    assert together(hosts) == text
