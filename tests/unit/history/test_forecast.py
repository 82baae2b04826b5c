from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from khw.engine.events import PhaseEnded, RunEnded, RunStarted
from khw.engine.report import Outcome, PhaseResult
from khw.history.forecast import Pace, expected, paces
from khw.history.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

FIRST = Pace({("a", "x"): 20.0, ("a", "y"): 40.0, ("a", "z"): 50.0}, 51.0)
NOTHING_CHANGED = Pace({("a", "x"): 1.0, ("a", "y"): 2.0, ("a", "z"): 3.0}, 4.0)


@dataclass
class Going:
    ends: dict[tuple[str, str], float] = field(default_factory=dict)
    steps: int = 3


def test_without_an_earlier_run_of_the_same_kind_nothing_is_foretold() -> None:
    assert expected([], Going()) is None
    assert expected([FIRST], Going(steps=7)) is None
    assert expected([FIRST], Going({("b", "x"): 1.0})) is None


def test_before_anything_is_through_the_newest_run_is_what_is_expected() -> None:
    assert expected([NOTHING_CHANGED, FIRST], Going()) == 4.0


def test_the_run_that_was_most_alike_so_far_says_what_is_left() -> None:
    assert expected([NOTHING_CHANGED, FIRST], Going({("a", "x"): 24.0})) == 24.0 + 31.0
    assert expected([NOTHING_CHANGED, FIRST], Going({("a", "x"): 1.2})) == 1.2 + 3.0


def write(directory: Path, run_id: str, outcome: Outcome, code: int) -> None:
    journal = Journal(directory, run_id, "run")
    journal(RunStarted(run_id, ("a",), ("x",), {"a": ("x",)}))
    journal(PhaseEnded(PhaseResult(host="a", phase="x", outcome=outcome, started=0, ended=float(run_id))))
    journal(RunEnded(run_id, code, float(run_id) + 1))
    journal.close()


def test_only_runs_that_ended_well_are_gone_by_and_broken_journals_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "1", Outcome.CHANGED, 0)
    write(tmp_path, "2", Outcome.FAILED, 3)
    write(tmp_path, "3", Outcome.OK, 0)
    (tmp_path / "4.jsonl").write_text('{"event":"end",\n')
    assert paces(tmp_path) == [Pace({("a", "x"): 3.0}, 4.0), Pace({("a", "x"): 1.0}, 2.0)]
