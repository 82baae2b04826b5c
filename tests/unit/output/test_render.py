from __future__ import annotations

from typing import TYPE_CHECKING

from khw.engine.events import BytesTaken, GateOpened, Notice, PhaseWaits, Progress, ResourceStarted, RunStarted
from khw.engine.report import OPERATOR
from khw.output.render import ProgressLines

if TYPE_CHECKING:
    import pytest


def test_without_a_terminal_there_is_a_line_for_each_event_that_says_something(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = ProgressLines()
    for event in (
        RunStarted("1", (OPERATOR, "worker-0"), ("workers",), {}),
        PhaseWaits("worker-0", "workers", "etcd on any controller", "etcd", ("controller-0",)),
        GateOpened("worker-0", "workers"),
        ResourceStarted("worker-0", "workers", "unit:kubelet.service"),
        BytesTaken("worker-0", "workers", 1_000_000),
        Progress(OPERATOR, "kubelet v1: 3 of 9 packages compiled"),
        Notice(OPERATOR, "stopping"),
    ):
        lines(event)
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split() for line in err.splitlines()] == [
        ["worker-0", "workers", *["waits", "for", "etcd", "on", "any", "controller"]],
        [OPERATOR, *["kubelet", "v1:", "3", "of", "9", "packages", "compiled"]],
        [OPERATOR, "stopping"],
    ]
