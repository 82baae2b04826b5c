"""Every drill is whole: its words have values, its proof and its root cause are what khw verify knows."""

from __future__ import annotations

import re
import subprocess
from string import Formatter

import click
import pytest
from fakes import cluster

from khw.cli.main import main
from khw.cluster.spec import Gcp, Spec
from khw.drills.drill import Drill, values_of
from khw.drills.page import STANDARD
from khw.drills.table import DRILLS, drill
from khw.errors import UsageError
from khw.verify.causes import TITLES
from khw.verify.table import CHECKS

CLUSTER = cluster(Spec(gcp=Gcp(project="p")))
ASKED = {  # issue 5
    "etcd-leader",
    "etcd-quorum",
    "certificate-expired",
    "san-missing",
    "service-cidr",
    "pod-route",
    "etcd-disk",
    "cluster-dns",
    "cgroup-driver",
    "cni-broken",
    "encryption-key",
    "firewall",
    "clock-ahead",
}

every = pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in DRILLS])


def words(row: Drill) -> set[str]:
    """Return the names in braces in all that a drill says."""
    texts = (row.story, *row.hints, *row.repair, row.cause.id, row.cause.node)
    return {name for text in texts for _, name, _, _ in Formatter().parse(text) if name}


def test_there_are_all_that_were_asked_for_and_names_are_given_once() -> None:
    names = [row.name for row in DRILLS]
    assert set(names) >= ASKED
    assert len(names) == len(set(names)) >= 15


@every
def test_what_is_in_braces_has_a_value(row: Drill) -> None:
    looked_up = words(row) - set(values_of(CLUSTER))
    assert not looked_up or row.find is not None, looked_up
    assert set(STANDARD) <= set(values_of(CLUSTER))


@every
def test_its_proof_is_of_checks_that_there_are(row: Drill) -> None:
    assert set(row.proof) <= {check.name for check in CHECKS}
    assert row.proof


@every
def test_its_root_cause_is_of_a_kind_that_verify_names(row: Drill) -> None:
    assert row.cause.id.partition(":")[0] in TITLES


@every
def test_the_story_tells_no_cause_and_the_hints_come_step_by_step(row: Drill) -> None:
    assert len(row.story.split()) > 40
    assert len(row.hints) >= 3
    assert row.title not in row.story
    steps = row.steps({name: f"<{name}>" for name in words(row)})
    assert steps[-1].splitlines()[0] == "The whole repair:"
    assert len(steps[-1].splitlines()) == 1 + len(row.repair)


@every
def test_the_repair_is_typed_with_commands_that_khw_has(row: Drill) -> None:
    for line in row.commands({name: name for name in words(row)}):
        subprocess.run(["bash", "-n", "-c", line], check=True, timeout=10)
        assert not re.search(r"\$[^({a-z]", line), f"$# and the like mean something to a shell: {line}"
        for typed in re.findall(r"(?:^|[|;] *|do )khw ([a-z]+)", line):
            assert main.get_command(click.Context(main), typed), line


def test_a_drill_that_there_is_none_of_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean etcd-leader"):
        drill("etcd-leadr")
