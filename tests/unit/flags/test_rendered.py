"""Nothing that a task renders goes unjudged, and no key is in what is judged."""

from __future__ import annotations

import pytest
from fakes import cluster

from khw.cluster.spec import Spec
from khw.engine.phases import PHASES
from khw.flags import trial
from khw.flags.fields import readers
from khw.flags.rendered import Rendered, planned, render, specimens
from khw.tasks.containerd import CONFIG as CONTAINERD_CONFIG

HAVE_NO_FIELDS = ("/etc/modules-load.d/", "/etc/sysctl.d/")


@pytest.fixture(scope="module")
def everything() -> list[Rendered]:
    it = cluster(Spec())
    return list(render(PHASES, it, specimens(it)))


def test_every_config_file_has_a_judge(everything: list[Rendered]) -> None:
    for rendered in everything:
        judged = {CONTAINERD_CONFIG, *(path for path, _ in readers(rendered))}
        for program in rendered.programs():
            judged.update(program.inputs if program.unit else ())
        for path in rendered.files:
            assert path in judged or path.endswith(".pem") or path.startswith(HAVE_NO_FIELDS), path


def test_every_server_has_a_trial_that_stops_it(everything: list[Rendered]) -> None:
    servers = {program.artifact for rendered in everything for program in rendered.programs() if program.unit}
    assert servers == {*trial.TRIALS, "containerd"}


def test_both_values_of_every_fact_are_rendered(everything: list[Rendered]) -> None:
    configs = {rendered.files[CONTAINERD_CONFIG] for rendered in everything if CONTAINERD_CONFIG in rendered.files}
    assert {"SystemdCgroup = true" in text for text in configs} == {True, False}
    assert {"restrict_oom_score_adj" in text for text in configs} == {True, False}


def test_specimens_hold_nothing_that_could_be_believed(everything: list[Rendered]) -> None:
    assert not any("BEGIN" in text for rendered in everything for text in rendered.files.values())


def test_nodes_of_a_role_have_the_same_shape(everything: list[Rendered]) -> None:
    shapes: dict[str, set[str]] = {}
    for rendered in everything:
        for program in rendered.programs():
            shapes.setdefault(program.where, set()).add(program.shape())
    assert {where: len(found) for where, found in shapes.items() if len(found) > 2} == {}


def test_the_plan_of_a_cluster_file_has_every_node_before_there_is_one() -> None:
    spec = Spec()
    assert [node.name for node in planned(spec).nodes] == [machine.name for machine in spec.planned]
