from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from khw.cli.lab import lab
from khw.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def run(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, args)
    return result.exit_code, result.stdout, result.stderr


def test_help_loads_nothing_slow() -> None:
    code = (
        "import sys\n"
        "from khw.cli.main import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "slow = {'netmiko', 'paramiko', 'nornir', 'google', 'starlette', 'rich', 'pydantic'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Kubernetes The Hard Way" in done.stdout


def test_a_missing_cluster_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    code, out, err = run("-f", str(tmp_path / "khw.yaml"), "inventory")
    assert code == 2
    assert out == ""
    assert "khw.yaml" in err
    assert "khw init" in err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--phase", "etdc"), "did you mean etcd?"),
        (("--from", "dns", "--until", "etcd"), "nothing is selected"),
        (("--phase", "etcd", "--skip", "etcd"), "no phase is selected"),
    ],
)
def test_phases_that_cannot_be_selected_are_a_usage_error(tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    assert run("-f", str(tmp_path / "khw.yaml"), "init", "--project", "p")[0] == 0
    code, out, err = run("-f", str(tmp_path / "khw.yaml"), "run", *args)
    assert (code, out) == (2, "")
    assert said in err


def test_init_never_replaces_a_file_unasked(tmp_path: Path) -> None:
    file = tmp_path / "khw.yaml"
    file.write_text("mine")
    code, _, err = run("-f", str(file), "init", "--project", "p")
    assert code == 2
    assert "--force" in err
    assert file.read_text() == "mine"


def test_phases_are_listed_in_the_guides_order() -> None:
    code, out, _ = run("phases", "-o", "name")
    assert code == 0
    names = out.split()
    assert names[0] == "prerequisites"
    assert names[-1] == "smoke"
    assert names.index("etcd") < names.index("control-plane") < names.index("dns")


def test_run_failed_before_any_run_says_so(tmp_path: Path) -> None:
    file = str(tmp_path / "khw.yaml")
    run("-f", file, "init", "--project", "p")
    code, _, err = run("-f", file, "run", "--failed")
    assert code == 2
    assert "no run yet" in err


@pytest.mark.parametrize(
    ("command", "where"), [("run", "khw.session.hold"), ("destroy", "khw.history.journal.Journal._write")]
)
def test_a_full_disk_of_this_machine_is_named_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, where: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "file"))

    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none"))
    assert run("-f", str(tmp_path / "khw.yaml"), "init", "--project", "p")[0] == 0
    monkeypatch.setattr(where, full)
    code, _, err = run("-f", str(tmp_path / "khw.yaml"), command, *(["--yes"] if command == "destroy" else []))
    assert code == 1
    assert f"this machine's disk takes nothing more: {tmp_path}/file: No space left on device" in err
    assert "make room" in err


@pytest.mark.parametrize(("argument", "code"), [("--version", 0), ("no-such-command", 2)])
def test_the_installed_command_says_all_and_is_gone_at_once(argument: str, code: int) -> None:
    """Nothing runs after it, not even what asks to; what it said has reached a pipe."""
    script = (
        "import atexit, sys\n"
        "from khw.cli.main import console\n"
        "atexit.register(print, 'taken apart')\n"
        f"sys.argv = ['khw', {argument!r}]\n"
        "console()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code
    assert ("version" in said) == (code == 0)
    assert "taken apart" not in said


def test_in_its_own_process_packages_are_asked_for_what_is_installed_all_the_same() -> None:
    script = (
        "import sys\n"
        "from khw.imports import own_process\n"
        "own_process()\n"
        "import khw.cluster.file\n"
        "print('email' in sys.modules)\n"
        "from importlib.metadata import entry_points, version\n"
        "print(version('khw') == entry_points(group='console_scripts', name='khw')['khw'].dist.version)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_in_its_own_process_pydantic_looks_for_no_plugins(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from khw import interrupt\n"
        "from khw.cli.main import console\n"
        f"sys.argv = ['khw', '-f', {str(tmp_path / 'khw.yaml')!r}, 'init', '--project', 'a-project']\n"
        "interrupt.vanish = lambda code: print(code, sys.modules['pydantic.plugin._loader']._plugins)\n"
        "console()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines()[-1:] == ["0 None"], done.stderr


@pytest.mark.parametrize("command", [main.commands["ssh"], lab.commands["ssh"]], ids=["khw ssh", "khw lab ssh"])
def test_the_options_of_a_command_on_a_node_are_its_own(command: click.Command) -> None:
    typed = ["controller-0", "df", "-h", "--help", "/var/lib/etcd"]
    assert command.make_context("ssh", typed).params["command"] == ("df", "-h", "--help", "/var/lib/etcd")
