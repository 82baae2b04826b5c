"""The page as text; in a browser it is looked at in tests/lab/test_report.py."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from fakes import cluster
from observations import AT, observed

from khw.certs.pki import load_or_issue
from khw.certs.survey import held
from khw.checks import CheckResult, Status
from khw.history.timeline import Bar, Made, Timeline
from khw.pages.facts import Facts, changed_phases
from khw.pages.report import report
from khw.verify.kept import Verified, keep, kept
from khw.verify.verdict import Verdict

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "<script>alert('x')</script>"
RUN = Timeline(
    run_id="1",
    what=f"run {EVIL}",
    hosts=("controller-0", "controller-1"),
    phases=("etcd",),
    bars=(
        Bar(host="controller-0", phase="etcd", outcome="changed", started=0.0, ended=2.0),
        Bar(host="controller-1", phase="etcd", outcome="failed", started=0.0, ended=3.0, error=EVIL, hint="mend it"),
    ),
    made=(
        Made(host="controller-0", phase="etcd", resource="file:/a", action="created", seconds=1, after=EVIL),
        Made(host="controller-1", phase="etcd", resource="file:/a", action="created", seconds=1, after=EVIL),
    ),
    seconds=3.0,
    exit_code=3,
    round_trips={"controller-0": 4},
)
FAILED = CheckResult(name="etcd", node="controller-1", status=Status.FAILED, expected="it answers", actual=EVIL)
PASSED = CheckResult(name="clock", node="controller-0", status=Status.PASSED, expected="right", actual="0.1 s")
EXPOSED = tuple(
    CheckResult(
        name="exposure etcd.service",
        check="exposure",
        subject="etcd.service",
        node=f"controller-{number}",
        status=Status.PASSED,
        expected="little",
        actual="1.1 OK",
    )
    for number in range(3)
)
JUDGED = tuple(
    CheckResult(
        name=f"cis {number}", check="cis", subject=number, node="", status=status, expected="asked", actual=EVIL
    )
    for number, status in (("5.1.1", Status.PASSED), ("5.1.7", Status.MANUAL), ("2.1", Status.FAILED))
)
WHOLE = Facts(
    cluster="test",
    version="1",
    at=AT,
    run=RUN,
    verified=Verified(AT, (FAILED, PASSED, *EXPOSED)),
    benchmarked=Verified(AT, JUDGED),
    seen=observed(),
)


class Balance(HTMLParser):
    """Every element that is opened is closed, in its order."""

    VOID = frozenset({"meta", "br", "link", "hr", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in {"href", "src"} and value]
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag, attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(facts: Facts) -> Balance:
    it = Balance()
    it.feed(report(facts))
    assert it.open == []
    return it


@pytest.mark.parametrize(
    "facts",
    [WHOLE, replace(WHOLE, seen=None), replace(WHOLE, run=None, verified=None), Facts(cluster="t", version="1", at=AT)],
    ids=["whole", "no machines", "no run", "nothing"],
)
def test_it_is_well_formed_and_every_link_leads_to_a_part_of_it(facts: Facts) -> None:
    page = parsed(facts)
    assert len(page.ids) == len(set(page.ids))
    assert page.links
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_no_text_from_outside_becomes_markup_or_script() -> None:
    text = report(WHOLE)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 4


def test_what_is_missing_is_said() -> None:
    assert "there was no run yet" in report(Facts(cluster="t", version="1", at=AT, missing=("there was no run yet",)))


def test_failed_checks_and_stopped_hosts_come_with_the_way_out() -> None:
    text = report(WHOLE)
    assert "1 of 5 failed" in text
    assert "→ mend it" in text
    assert "exit code 3" in text


def test_who_may_come_in_and_what_nodes_passed_on_are_told() -> None:
    text = report(replace(WHOLE, run=replace(RUN, bytes_relayed={"controller-1": 7_250_000})))
    assert "tcp 22, 6443</td><td>203.0.113.7/32</td><td>all</td>" in text
    assert "deny, leaving" in text
    assert "<dt>Passed on between nodes</dt><dd>7.2 MB</dd>" in text
    assert "Passed on between nodes" not in report(WHOLE)


def test_the_same_change_on_several_hosts_is_one_row() -> None:
    (phase,) = changed_phases(RUN)
    assert phase.count == 2
    ((action, what, hosts, _),) = phase.rows
    assert (action, what, hosts) == ("created", "file:/a", "controller-0,1")


def test_certificates_have_their_days_left_and_no_key_is_in_it(tmp_path: Path) -> None:
    load_or_issue(tmp_path, cluster())
    certificates = tuple(held(tmp_path))
    assert [row.name for row in certificates[:3]] == ["etcd-ca", "front-proxy-ca", "kubernetes-ca"]
    near = replace(WHOLE, certificates=certificates, at=certificates[-1].ends - timedelta(days=5))
    text = report(near)
    assert "✗ 5" in text
    for key in tmp_path.glob("*-key*"):
        assert not [line for line in key.read_text().splitlines() if len(line) > 30 and line in text]


def test_what_verify_found_is_kept_for_it_and_a_file_of_another_shape_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "verified.json"
    assert kept(path) is None
    keep(path, Verdict((FAILED, PASSED)))
    assert path.stat().st_mode & 0o077 == 0
    found = kept(path)
    assert found
    assert found.results == (FAILED, PASSED)
    path.write_text(re.sub("actual", "seen", path.read_text()))
    assert kept(path) is None


def test_it_has_the_figures_of_each_unit_and_the_benchmarks_numbers() -> None:
    text = report(WHOLE)
    assert "controller-0,1,2" in text
    assert text.count("1.1 OK") == 3 + 1  # the checks themselves, and one row for hosts with the same figure
    for number in ("2.1", "5.1.1", "5.1.7"):
        assert f'<td class="h">{number}</td>' in text
    assert "1 fail, 1 manual, 1 pass, 0 not applicable, of 3 recommendations" in text
    assert 'id="hardening"' not in report(replace(WHOLE, verified=None, benchmarked=None))
