from __future__ import annotations

from benchmarks import chapters, micro
from benchmarks.clock import Sample
from benchmarks.goals import Goal
from benchmarks.page import section
from benchmarks.ratios import ratios


def sample(case: str, seconds: float, *, measurement: str = chapters.FRESH, round_trip: int = 0) -> Sample:
    return Sample(
        measurement=measurement, case=case, seconds=seconds, load=0.1, at="2026-01-01", cpu=1.5, round_trip=round_trip
    )


TWO_ROUNDS = [sample("khw", 10), sample("ansible", 30), sample("khw", 20), sample("ansible", 80)]


def test_a_ratio_is_to_khw_in_the_same_round() -> None:
    spread = ratios(TWO_ROUNDS, "ansible")
    assert spread is not None
    assert (spread.least, spread.median, spread.most, spread.runs) == (3.0, 3.5, 4.0, 2)


def test_a_round_that_khw_missed_gives_no_ratio() -> None:
    assert ratios([sample("ansible", 30)], "ansible") is None


def test_a_promise_is_kept_by_the_median_and_not_by_the_best_round() -> None:
    assert Goal("as fast", chapters.FRESH, "ansible", least=3).row(TWO_ROUNDS) == (
        "as fast",
        "3.50 times (3.00 to 4.00)",
        "yes",
    )
    goal = Goal("soon", chapters.WHOLE, "khw", round_trip=150, below=4)
    whole = [sample("khw", s, measurement=chapters.WHOLE, round_trip=150) for s in (3.9, 4.0, 4.1)]
    assert goal.row([*TWO_ROUNDS, *whole]) == ("soon", "4.00 s (3.90 to 4.10)", "no")


def test_a_promise_that_was_not_measured_is_not_on_the_page() -> None:
    assert Goal("ten times", micro.MICRO, micro.RAW, least=10).row(TWO_ROUNDS) is None


def test_a_distance_that_a_contestant_was_not_measured_at_is_a_dash_in_its_row() -> None:
    lines = section("Fresh", [*TWO_ROUNDS, sample("khw", 15, round_trip=150)], set()).splitlines()
    heads = "|  | ratio at 0 ms | seconds at 0 ms | ratio at 150 ms | seconds at 150 ms | own CPU | runs | load |"
    assert lines[2] == heads
    assert (
        lines[4]
        == "| khw | **1.0** (1.0 to 1.0) | **15.00** (10.00 to 20.00) | **1.0** | **15.00** | 1.5 | 2 · 1 | 0 to 0 |"
    )
    assert lines[5] == "| ansible | **3.5** (3.0 to 4.0) | **55.00** (30.00 to 80.00) | - | - | 1.5 | 2 · 0 | 0 to 0 |"
