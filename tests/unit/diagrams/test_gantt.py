from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from khw.diagrams.gantt import WIDE, gantt
from khw.history.timeline import Bar, Timeline, Waiting

WAIT = Waiting(began=2.0, ended=20.0, reason="etcd", awaited="etcd", holders=("controller-0",))
RUN = Timeline(
    run_id="1",
    what="run",
    hosts=("controller-0", "worker-0"),
    phases=("etcd", "workers"),
    bars=(
        Bar(host="controller-0", phase="etcd", outcome="changed", started=0.0, ended=20.0, changed=3),
        Bar(host="worker-0", phase="workers", outcome="failed", started=2.0, ended=30.0, waits=(WAIT,), error="<no>"),
    ),
    made=(),
    seconds=30.0,
    exit_code=3,
)


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter() if element.tag.endswith("}text")]  # noqa: S314 - our own


def test_every_host_and_phase_has_its_name_and_the_axis_its_seconds() -> None:
    said = texts(gantt(RUN))
    assert {"controller-0", "worker-0", "etcd", "✗ workers", "0 s", "30 s"} <= set(said)


def test_the_critical_path_is_told_in_words_too() -> None:
    assert "etcd on controller-0 for 20.0 s, then workers on worker-0 for 10.0 s" in gantt(RUN)


def test_what_went_wrong_is_told_to_a_resting_pointer_and_escaped() -> None:
    assert "worker-0: workers: failed, 2.0 s to 30.0 s; waited 18.0 s for etcd" in gantt(RUN)
    assert "<no>" not in gantt(RUN)


@pytest.mark.parametrize("seconds", [0.0, 0.4, 79.9, 4000.0, 90_000.0])
def test_runs_of_any_length_fit(seconds: float) -> None:
    bar = Bar(host="a", phase="etcd", outcome="ok", started=0.0, ended=seconds)
    run = Timeline(run_id="1", what="", hosts=("a",), phases=("etcd",), bars=(bar,), made=(), seconds=seconds)
    root = ET.fromstring(gantt(run))  # noqa: S314 - our own
    assert len([1 for said in texts(gantt(run)) if said.endswith(" s")]) <= 25
    for element in root.iter():
        if "x" in element.attrib and "width" in element.attrib:
            assert float(element.attrib["x"]) + float(element.attrib["width"]) <= WIDE
