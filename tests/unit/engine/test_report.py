from __future__ import annotations

import pytest

from khw.converge.changes import Action, Change
from khw.engine.report import OPERATOR, Outcome, PhaseResult, Report
from khw.errors import ProviderError


def result(host: str, outcome: Outcome, *actions: Action) -> PhaseResult:
    changes = tuple(Change(resource=f"file:/{n}", action=action) for n, action in enumerate(actions))
    return PhaseResult(host=host, phase="etcd", outcome=outcome, started=1, ended=2, changes=changes)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ((Outcome.OK, Outcome.CHANGED, Outcome.ELSEWHERE), 0),
        ((Outcome.OK, Outcome.FAILED), 3),
        ((Outcome.BLOCKED,), 3),
        ((Outcome.FAILED, Outcome.UNREACHABLE), 4),
        ((Outcome.UNREACHABLE, Outcome.CANCELLED), 130),
    ],
)
def test_the_exit_code_is_the_worst_of_the_hosts(outcomes: tuple[Outcome, ...], code: int) -> None:
    assert Report("1", results=[result("a", outcome) for outcome in outcomes]).exit_code == code


def test_an_error_on_the_operators_side_keeps_its_own_code() -> None:
    error = PhaseResult(
        host=OPERATOR,
        phase="compute",
        outcome=Outcome.FAILED,
        started=1,
        ended=2,
        error=ProviderError("no such project"),
    )
    assert Report("1", results=[error]).exit_code == 1


def test_changes_are_counted_and_unchanged_is_not_a_change() -> None:
    report = Report("1", results=[result("a", Outcome.CHANGED, Action.CREATED, Action.UNCHANGED, Action.RESTARTED)])
    assert report.changed == 2
    assert report.stopped("a") is None


def test_json_holds_each_hosts_phases() -> None:
    data = Report("1", results=[result("a", Outcome.OK), result("b", Outcome.FAILED)]).as_dict()
    assert data["ok"] is False
    assert isinstance(data["hosts"], dict)
    assert set(data["hosts"]) == {"a", "b"}
