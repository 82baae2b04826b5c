from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner
from fakes import OWN_MACHINES

from khw.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "khw.yaml"
    path.write_text(OWN_MACHINES)
    return path


def run(file: Path, *args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["-f", str(file), *args])
    return result.exit_code, result.stdout, result.stderr


def test_before_any_run_there_is_a_report_that_says_what_is_not_in_it(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "r.html"
    code, out, err = run(file, "report", "--offline", "-o", str(target))
    assert (code, out) == (0, f"{target}\n")
    assert "there was no run yet" in err
    assert "<h1>mine</h1>" in target.read_text()


def test_a_report_can_go_to_stdout_and_writes_nothing(file: Path) -> None:
    code, out, _ = run(file, "report", "--offline", "-o", "-")
    assert code == 0
    assert out.startswith("<!doctype html>")
    assert [path.name for path in file.parent.iterdir()] == ["khw.yaml"]


def test_a_run_that_there_is_not_is_named(file: Path) -> None:
    code, _, err = run(file, "report", "--offline", "20990101T000000Z")
    assert code == 2
    assert "20990101T000000Z" in err


@pytest.mark.parametrize("name", ["network", "tls"])
def test_machines_of_the_users_own_are_drawn_without_asking_them(file: Path, name: str) -> None:
    code, out, _ = run(file, "diagram", name)
    assert code == 0
    assert ET.fromstring(out).tag.endswith("svg")  # noqa: S314 - our own
    assert "no route" not in out, "nothing is known of the user's own router"
    assert run(file, "diagram", name, "-o", "mermaid")[1].count("flowchart") == 1
