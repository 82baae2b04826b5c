"""A run whose flags are not known ends before it connects to any node."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from fakes import cluster

from khw.cluster.spec import Role, Spec
from khw.cluster.workspace import Workspace
from khw.converge.changes import Action, Change
from khw.engine import operator
from khw.engine.engine import Engine, Plan
from khw.engine.operator import Run
from khw.engine.phases import Phase
from khw.engine.report import OPERATOR
from khw.errors import FlagError

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = Phase(name="tools", chapter=2, title="", operator=lambda run: run.require_flags())
ETCD = Phase(name="etcd", chapter=7, title="", roles=frozenset({Role.CONTROLLER}), task=lambda *_: [])
ROUTES = Phase(name="routes", chapter=11, title="", operator=lambda _run: [])


def refuse(_run: Run) -> list[Change]:
    raise FlagError("etcd.service: --nmae is not a flag of etcd v1")


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    hosts: list[str] = []

    def get_connection(host: Any, *_: object) -> Any:
        hosts.append(host.name)
        raise AssertionError

    monkeypatch.setattr("nornir.core.inventory.Host.get_connection", get_connection)
    return hosts


@pytest.fixture
def run(tmp_path: Path) -> Run:
    it = cluster(Spec())
    return Run(
        spec=it.spec,
        workspace=Workspace.beside(tmp_path / "khw.yaml", "test"),
        provider=cast("Any", SimpleNamespace(discover=lambda: it, look_ahead=lambda _phases: None)),
        store=cast("Any", None),
        flag_check=refuse,
    )


def engine(run: Run, **plan: Any) -> Engine:
    return Engine(run, Plan(**plan), "1", [])


def test_chapter_2_fails_before_there_are_machines(run: Run, connected: list[str]) -> None:
    report = engine(run, phases=(TOOLS, ETCD)).execute()
    (result,) = report.results
    assert (result.host, result.phase) == (OPERATOR, "tools")
    assert isinstance(result.error, FlagError)
    assert connected == []


def test_a_run_without_chapter_2_is_held_to_it_too(run: Run, connected: list[str]) -> None:
    with pytest.raises(FlagError, match="--nmae"):
        engine(run, phases=(ETCD,), limit=frozenset({"controller-0"})).execute()
    assert connected == []


def test_a_run_that_touches_no_node_needs_no_flags(run: Run) -> None:
    report = engine(run, phases=(ROUTES,)).execute()
    assert report.exit_code == 0


def test_flags_are_looked_at_once_a_run(run: Run) -> None:
    change = Change(resource="flags", action=Action.UNCHANGED)
    looked: list[Run] = []

    def look(it: Run) -> list[Change]:
        looked.append(it)
        return [change]

    run.flag_check = look
    assert run.require_flags() == run.require_flags() == [change]
    assert looked == [run]


def test_chapter_2_says_what_it_checked(run: Run) -> None:
    run.flag_check = lambda _run: [Change(resource="flags", action=Action.UNCHANGED)]
    run.check = True
    run.store = cast("Any", SimpleNamespace(lock=SimpleNamespace(entries={}), digest=lambda *_name: ""))
    assert [change.resource for change in operator.tools(run)] == ["tool:kubectl", "flags"]
