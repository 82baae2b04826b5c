from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from khw.checks import CheckResult, Status
from khw.cli.main import main
from khw.cluster.spec import Role
from khw.errors import UsageError
from khw.output.benchmark import benchmark
from khw.verify.check import ClusterCheck, NodeCheck
from khw.verify.cis import profile, summary
from khw.verify.verdict import Verdict


def result(number: str, node: str, status: Status, actual: str = "seen") -> CheckResult:
    return CheckResult(
        name=f"cis {number}", check="cis", subject=number, node=node, status=status, expected="asked", actual=actual
    )


RESULTS = [
    result("1.2.10", "controller-0", Status.PASSED),
    result("1.2.9", "controller-0", Status.PASSED),
    result("1.2.9", "controller-1", Status.PASSED),
    result("1.2.9", "controller-2", Status.FAILED, "gone"),
    result("5.1.7", "", Status.MANUAL),
    result("1.1.9", "controller-0", Status.SKIPPED),
]


def test_every_number_is_there_once_and_is_of_a_section() -> None:
    assert len(profile.NUMBERS) == len(set(profile.NUMBERS)) == 131
    assert {profile.section(number) for number in profile.NUMBERS} == set(profile.SECTIONS)
    assert all(re.fullmatch(r"\d+(\.\d+)+", number) for number in profile.NUMBERS)


def test_etcds_files_are_looked_at_where_etcd_is() -> None:
    of = {role: {control.number for control in table} for role, table in profile.BY_ROLE.items()}
    assert {"1.1.7", "1.1.11", "1.1.12", "2.7"} <= of[Role.ETCD]
    assert not of[Role.ETCD] & of[Role.CONTROLLER]


def test_numbers_of_a_section_have_no_gaps() -> None:
    for section in profile.SECTIONS:
        last = sorted(profile.order(n)[-1] for n in profile.NUMBERS if profile.section(n) == section)
        assert last == list(range(1, len(last) + 1))


def test_a_number_or_a_section_is_chosen_and_no_more_is_asked_than_it_needs() -> None:
    assert [type(check) for check in profile.select()] == [NodeCheck, ClusterCheck]
    assert [type(check) for check in profile.select(("5.1",))] == [ClusterCheck]
    assert [type(check) for check in profile.select(("1.2.1", "4"))] == [NodeCheck]
    with pytest.raises(UsageError, match=r"version 1\.12 has no 1\.9"):
        profile.select(("1.9",))


def test_nodes_that_say_the_same_are_one_row_and_the_worst_comes_first() -> None:
    rows = [(row.number, row.word, row.where) for row in summary.rows(RESULTS)]
    assert rows == [
        ("1.1.9", "not applicable", "controller-0"),
        ("1.2.9", "fail", "controller-2"),
        ("1.2.9", "pass", "controller-0,1"),
        ("1.2.10", "pass", "controller-0"),
        ("5.1.7", "manual", ""),
    ]


def test_a_recommendation_is_what_it_is_on_its_worst_node() -> None:
    assert summary.told(summary.rows(RESULTS)) == "1 fail, 1 manual, 1 pass, 1 not applicable, of 4 recommendations"


def test_a_person_reads_numbers_results_and_who_did_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    silent = CheckResult(name="reachable", node="worker-0", status=Status.FAILED, expected="", actual="no route")
    benchmark(Verdict((*RESULTS, silent)))
    out = capsys.readouterr().out
    assert re.search(r"1\.2\.9 +fail +controller-2 +asked +gone", out)
    assert "reachable worker-0: no route" in out
    assert "CIS Kubernetes Benchmark 1.12: 1 fail" in out


def test_junit_says_what_is_a_persons_to_judge() -> None:
    text = Verdict((result("5.1.7", "", Status.MANUAL, "look"),)).as_junit("cis")
    assert 'skipped="1"' in text
    assert "to be judged by a person: look" in text


def test_a_number_that_there_is_not_is_a_usage_error_before_any_machine_is_asked(tmp_path: Path) -> None:
    file = str(tmp_path / "khw.yaml")
    assert CliRunner().invoke(main, ["-f", file, "init"]).exit_code == 0
    done = CliRunner().invoke(main, ["-f", file, "verify", "--profile", "cis", "1.9"])
    assert done.exit_code == 2
    assert "the benchmark's version 1.12 has no 1.9" in done.stderr
