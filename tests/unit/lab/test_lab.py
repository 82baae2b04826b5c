from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from khw.errors import LabError
from khw.lab import lab, layout, preflight
from khw.lab.command import run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KHW_LAB_HOME", str(tmp_path))
    return tmp_path


def test_the_default_lab_is_known_before_it_is_up() -> None:
    assert lab.project_of() == "khw-default"
    assert lab.endpoint_of() == "http://127.240.0.2:8471"


def test_an_unknown_lab_is_named_with_those_that_there_are() -> None:
    layout.allocate("mine")
    with pytest.raises(LabError, match="no lab 'yours'") as caught:
        lab.endpoint_of("yours")
    assert "mine" in caught.value.hint


def test_without_root_the_lab_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root"):
        lab.up()
    with pytest.raises(LabError, match="needs root"):
        lab.down()


def test_all_missing_programs_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name in {"podman", "nft"} else name)
    with pytest.raises(LabError, match="needs nft, podman") as caught:
        preflight.check()
    assert caught.value.hint == "apt-get install nftables podman"


def test_a_node_that_is_not_there_is_named_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = layout.allocate("mine")
    (mine.directory / "ssh_key").write_text("")
    monkeypatch.setattr(preflight, "missing", lambda _: set())
    with pytest.raises(LabError, match="no machine 'worker-9'") as caught:
        lab.ssh_command("mine", "worker-9")
    assert "no machines yet" in caught.value.hint


def test_a_failed_command_says_what_it_said() -> None:
    with pytest.raises(LabError, match=r"sh -c .*ended with 3: oh no"):
        run(["sh", "-c", "echo oh no >&2; exit 3"])


def test_a_missing_command_is_named() -> None:
    with pytest.raises(LabError, match="no-such-program is not installed"):
        run(["no-such-program"])


def test_a_command_that_does_not_end_is_given_up() -> None:
    with pytest.raises(LabError, match="did not end within"):
        run(["sleep", "5"], timeout=0.05)


def test_status_of_a_lab_that_is_down_is_all_down(capsys: pytest.CaptureFixture[str]) -> None:
    layout.allocate("mine")
    state = lab.status("mine")
    assert not any((state.api, state.router, state.balancer, state.resolver))
    lab.print_status(state)
    assert "project khw-mine" in capsys.readouterr().out
    assert state.as_dict()["machines"] == ()


def test_the_key_of_a_lab_is_its_owners_alone() -> None:
    mine = layout.allocate("mine")
    lab._make_key(mine)
    before = (mine.directory / "ssh_key").read_bytes()
    lab._make_key(mine)
    assert (mine.directory / "ssh_key").read_bytes() == before
    assert Path(mine.directory / "ssh_key").stat().st_mode & 0o777 == 0o600
