"""The forms of a verdict, the choice of checks by name, and that every check is explained."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from fakes import cluster

from khw.checks import CheckResult, Status
from khw.errors import UsageError
from khw.explain.book import chapter_of, check_entry
from khw.verify.causes import diagnose
from khw.verify.rounds import REACHABLE
from khw.verify.table import CHECKS, select
from khw.verify.verdict import Verdict


def result(name: str, status: Status, node: str = "worker-0", **more: str) -> CheckResult:
    return CheckResult(name=name, check=name, node=node, status=status, expected="well", actual="so\x1b[1m", **more)


def test_junit_has_a_case_a_check_and_the_cause_of_each_failure() -> None:
    rows = (
        result("swap", Status.PASSED),
        result("node", Status.FAILED, cause="kubelet is gone", command="khw ssh worker-0"),
        result("logs", Status.SKIPPED),
    )
    verdict = Verdict(rows, tuple(diagnose(rows, cluster())))
    suite = ElementTree.fromstring(verdict.as_junit("khw verify"))  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    assert [case.get("classname") for case in suite] == ["worker-0"] * 3
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "node"
    assert "kubelet is gone" in (failure.text or "")
    assert "khw ssh worker-0" in (failure.text or "")


def test_checks_are_chosen_by_name_or_the_beginning_of_it() -> None:
    assert {check.name for check in select(["etcd"])} == {"etcd"}
    assert {check.name for check in select(["pod-to"])} == {"pod to pod"}
    assert {check.name for check in select(["API"])} == {
        "API server",
        "API server names",
        "API server behind the Service",
    }
    assert select([]) == CHECKS


def test_a_check_that_there_is_none_of_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no check 'nodse'; did you mean node"):
        select(["nodse"])


def test_every_check_says_what_it_is_why_what_breaks_and_what_shows_it() -> None:
    for name in (REACHABLE, "test pods", *(check.name for check in CHECKS)):
        entry = check_entry(name)
        assert entry, name
        assert entry.what, name
        assert entry.why, name
        assert entry.breaks, name
        assert entry.likely, name
        assert entry.show, name
        assert entry.chapter, name


def test_no_text_is_of_a_check_that_there_is_not() -> None:
    names = {REACHABLE, "test pods", *(check.name for check in CHECKS)}
    for known in chapter_of("checks"):
        assert known in names or any(known.startswith(f"{name} ") for name in names), known
