"""What the shells offer after Tab, asked in the shells themselves where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner

from khw.cli.main import main
from khw.engine.phases import PHASES
from khw.verify.table import CHECKS

BIN = Path(sys.executable).parent
HOSTS = ["controller-0", "controller-1", "controller-2", "worker-0", "worker-1", "worker-2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    done = CliRunner().invoke(main, ["-f", str(tmp_path / "khw.yaml"), "init", "--project", "p"])
    assert done.exit_code == 0
    return tmp_path


def offered(folder: Path, line: str) -> list[str]:
    """Return what khw answers to a shell that completes the end of this line; in shells themselves: below."""
    words = line.split(" ")
    env = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_KHW_COMPLETE": "bash_complete"}
    with chdir(folder):
        done = CliRunner().invoke(main, env=env, prog_name="khw")
    assert (done.exit_code, done.stderr) == (0, "")
    return [row.split(",", 1)[1] for row in done.stdout.splitlines() if row]


def test_commands_and_options_are_offered(folder: Path) -> None:
    assert offered(folder, "khw ver") == ["verify"]
    assert "--limit" in offered(folder, "khw run --l")


@pytest.mark.parametrize("option", ["--phase", "--from", "--until", "--skip"])
def test_phases_are_offered_as_the_table_has_them(folder: Path, option: str) -> None:
    assert offered(folder, f"khw run {option} ") == [phase.name for phase in PHASES]
    assert offered(folder, f"khw plan {option} et") == ["etcd"]


def test_limit_offers_the_operator_and_the_machines_of_the_cluster_file(folder: Path) -> None:
    assert offered(folder, "khw run --limit ") == ["operator", *HOSTS]


def test_a_list_of_hosts_goes_on_after_a_comma_without_those_it_has(folder: Path) -> None:
    assert offered(folder, "khw run --limit worker-1,wor") == ["worker-1,worker-0", "worker-1,worker-2"]


def test_ssh_offers_machines_and_not_the_operator(folder: Path) -> None:
    assert offered(folder, "khw ssh ") == HOSTS


def test_another_cluster_file_is_the_one_that_is_asked(folder: Path) -> None:
    (folder / "small.yaml").write_text("gcp: {project: p}\ncontrollers: {count: 1}\nworkers: {names: [alice]}\n")
    assert offered(folder, "khw -f small.yaml ssh ") == ["controller-0", "alice"]


@pytest.mark.parametrize("text", ["", "gcp: [", "provider: static\n"])
def test_a_cluster_file_that_cannot_be_read_offers_no_machine_and_no_error(folder: Path, text: str) -> None:
    (folder / "khw.yaml").write_text(text)
    assert offered(folder, "khw ssh ") == []


def test_fish_is_told_to_cut_an_answer_at_its_first_comma_alone() -> None:
    assert 'string split -m 1 "," $completion' in CliRunner().invoke(main, ["completion", "fish"]).output


def test_checks_are_offered_as_verify_takes_them(folder: Path) -> None:
    assert offered(folder, "khw verify pod") == ["pod-to-pod"]
    assert len(offered(folder, "khw verify ")) == len({check.name for check in CHECKS})


def test_topics_are_offered_as_explain_takes_them(folder: Path) -> None:
    assert offered(folder, "khw explain client-") == ["client-cert-auth", "client-ca-file"]
    assert "apiserver-etcd-client" in offered(folder, "khw explain apis")


def test_drills_artifacts_and_faults_are_offered(folder: Path) -> None:
    assert offered(folder, "khw drill start pod-r") == ["pod-route"]
    assert offered(folder, "khw artifacts fetch etcd") == ["etcd", "etcdctl", "etcdutl"]
    assert offered(folder, "khw lab fault add quota") == ["quota", "quota-late"]


def test_the_runs_that_have_a_journal_are_offered_the_newest_first(folder: Path) -> None:
    runs = folder / ".khw" / "kubernetes-the-hard-way" / "runs"
    runs.mkdir(parents=True)
    for name in ("20260101T000000.000000Z", "20260202T000000.000000Z"):
        (runs / f"{name}.jsonl").touch()
    assert offered(folder, "khw report ") == ["20260202T000000.000000Z", "20260101T000000.000000Z"]


def test_what_is_slow_or_needs_the_network_is_never_loaded(folder: Path) -> None:
    code = (
        "import sys\n"
        "from click.shell_completion import ShellComplete\n"
        "from khw.cli.main import main\n"
        "for words in (['run', '--phase'], ['run', '--limit'], ['ssh']):\n"
        "    assert ShellComplete(main, {}, 'khw', '').get_completions(words, ''), words\n"
        "slow = {'netmiko', 'paramiko', 'google', 'starlette', 'rich', 'khw.ssh.connection'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


# What a person's shell does at Tab. zsh's own completion needs a terminal: there the function's inputs are played.
IN_SHELLS = {
    "bash": 'eval "$(khw completion bash)"; COMP_WORDS=({words}); COMP_CWORD={last}; _khw_completion khw; '
    'printf "%s\\n" "${{COMPREPLY[@]}}"',
    "zsh": "compdef() {{ :; }}; compadd() {{ print -rl -- ${{(P)@[-1]}}; }}; "
    "_describe() {{ local row; for row in ${{(P)3}}; do print -r -- ${{row%%:*}}; done; }}; "
    'eval "$(khw completion zsh)"; words=({words}); CURRENT={current}; _khw_completion',
    "fish": 'khw completion fish | source; complete --do-complete "{line}" | string split -f1 \\t',
}


@pytest.mark.parametrize("shell", IN_SHELLS)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("khw run --phase con", ["control-plane"]),
        ("khw run --limit worker-1,wor", ["worker-1,worker-0", "worker-1,worker-2"]),
        ("khw ssh controller-", HOSTS[:3]),
    ],
)
def test_the_shell_offers_it(folder: Path, shell: str, line: str, expected: list[str]) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    words = line.split()
    script = IN_SHELLS[shell].format(line=line, words=" ".join(words), last=len(words) - 1, current=len(words))
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    env = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(folder)}
    done = subprocess.run(
        [shell, *options, "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert sorted(done.stdout.split()) == expected, done.stderr
