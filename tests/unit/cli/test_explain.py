"""The command line of `khw explain` and `khw export`, with a cluster file and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from khw.cli.main import main
from khw.engine.phases import PHASES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = str(tmp_path / "khw.yaml")
    assert CliRunner().invoke(main, ["-f", path, "init", "--project", "p"]).exit_code == 0
    return path


def run(file: str, *args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["-f", file, *args, "--offline"])
    return result.exit_code, result.stdout, result.stderr


def test_a_flag_is_explained_with_or_without_its_dashes(file: str) -> None:
    code, out, _ = run(file, "explain", "--client-cert-auth")
    assert code == 0
    assert "the only lock on etcd" in out
    assert run(file, "explain", "client-cert-auth")[1] == out


def test_a_word_that_is_nothing_is_a_usage_error(file: str) -> None:
    code, out, err = run(file, "explain", "kublet")
    assert (code, out) == (2, "")
    assert "did you mean kubelet?" in err


def test_json_is_one_row_a_thing(file: str) -> None:
    rows = json.loads(run(file, "explain", "etcd", "-o", "json")[1])
    assert {row["kind"] for row in rows} >= {"phase", "check", "unit"}
    assert all(row["what"] and row["why"] and row["breaks"] for row in rows)


def test_the_phase_alone_is_explained_where_a_word_is_several_things(file: str) -> None:
    rows = json.loads(run(file, "explain", "--phase", "etcd", "-o", "json")[1])
    assert [(row["kind"], row["name"]) for row in rows] == [("phase", "etcd")]


def test_a_phase_as_a_script_for_one_host(file: str) -> None:
    code, out, _ = run(file, "explain", "--phase", "etcd", "--host", "controller-1", "--shell")
    assert code == 0
    assert out.startswith("#!/bin/sh\n# Chapter 7, etcd")
    assert "--name=controller-1" in out
    assert "--name=controller-0" not in out


def test_a_script_without_a_phase_is_a_usage_error(file: str) -> None:
    code, _, err = run(file, "explain", "--shell")
    assert code == 2
    assert "khw explain --phase etcd --shell" in err


def test_the_guide_is_written_as_markdown_or_as_scripts(file: str, tmp_path: Path) -> None:
    assert run(file, "export", "--to", str(tmp_path / "guide.md"))[0] == 0
    assert (tmp_path / "guide.md").read_text().startswith("# Kubernetes The Hard Way, for the cluster")
    assert run(file, "export", "--scripts", str(tmp_path / "scripts"))[0] == 0
    scripts = sorted((tmp_path / "scripts").iterdir())
    assert [script.stem.partition("-")[2] for script in scripts] == [phase.name for phase in PHASES]
    assert all(script.stat().st_mode & 0o111 for script in scripts)
