"""`khw lab fault`, against a lab's API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from emulated import PROJECT
from google.api_core import exceptions as refusals

from khw.cli.main import main
from khw.lab import injection
from khw.lab.api.faults import SORTS

if TYPE_CHECKING:
    from click.testing import Result
    from emulated import Cloud


def khw(*args: str) -> Result:
    return CliRunner().invoke(main, ["lab", "fault", *args])


@pytest.fixture
def asked(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    monkeypatch.setattr(injection, "endpoint_of", lambda _name: cloud.endpoint)
    return cloud


def test_a_fault_is_asked_for_met_listed_and_forgotten(asked: Cloud) -> None:
    done = khw("add", "rate-limit", "--on", "networks.*", "--times", "2", "--seconds", "3")
    assert done.output == "fault 1: rate-limit on networks.*, 2 times\n"
    with pytest.raises(refusals.TooManyRequests) as caught:
        list(asked.networks.list(project=PROJECT, retry=None))
    assert caught.value.response.headers["Retry-After"] == "3"
    (row,) = json.loads(khw("list", "-o", "json").output)
    assert (row["sort"], row["met"], row["over"]) == ("rate-limit", 1, False)
    assert "rate-limit" in khw("list").output
    assert khw("clear").exit_code == 0
    assert json.loads(khw("list", "-o", "json").output) == []


def test_a_sort_that_is_none_is_named_with_those_that_are(asked: Cloud) -> None:
    assert asked.endpoint
    done = khw("add", "earthquake")
    assert done.exit_code == 2
    assert "earthquake" in done.stderr
    assert "rate-limit" in done.stderr


def test_all_sorts_are_told() -> None:
    output = khw("sorts").output
    assert all(name in output for name in SORTS)


def test_a_lab_that_is_not_up_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(injection, "endpoint_of", lambda _name: "http://127.0.0.1:9")
    done = khw("list")
    assert done.exit_code == 1
    assert "the API of lab default does not answer at http://127.0.0.1:9" in done.stderr
    assert "khw lab up" in done.stderr
