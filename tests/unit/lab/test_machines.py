from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from khw.lab.layout import Layout
from khw.lab.machines import Machine, every, read_console, ssh_keys

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("KHW_LAB_HOME", str(tmp_path))
    return Machine(Layout("x", 240), "worker-0")


def test_ssh_keys_are_users_with_keys() -> None:
    text = "khw:ssh-ed25519 AAAA khw@here\n\nroot ssh-rsa B\nbad user:ssh-rsa C\n;rm -rf:ssh-rsa D\nann:ssh-rsa E\n"
    assert list(ssh_keys(text)) == [("khw", "ssh-ed25519 AAAA khw@here"), ("ann", "ssh-rsa E")]


def test_a_console_is_read_without_conmons_marks() -> None:
    log = b"2026-01-01T00:00:00Z stdout P Wel\n2026-01-01T00:00:00Z stdout F come\n2026-01-01T00:00:01Z stdout F bye\n"
    assert read_console(log) == b"Welcome\nbye\n"


def test_a_machine_that_was_never_made_is_not_there(machine: Machine) -> None:
    assert not machine.exists
    assert machine.pid is None
    assert machine.console() == b""
    assert machine.published == {}
    assert every(machine.layout) == ()


def test_a_pid_that_is_another_processes_now_is_not_the_machines(machine: Machine) -> None:
    machine.directory.mkdir(parents=True)
    (machine.directory / "pid").write_text("1")
    assert machine.pid is None


def test_metadata_of_a_machine_that_is_down_waits_for_its_boot(machine: Machine) -> None:
    (machine.layout.directory / "ssh_key.pub").parent.mkdir(parents=True, exist_ok=True)
    (machine.layout.directory / "ssh_key.pub").write_text("ssh-ed25519 LAB\n")
    machine.set_metadata({"ssh-keys": "khw:ssh-ed25519 AAAA"})
    file = machine.directory / "metadata" / "ssh-keys"
    assert file.read_text() == "khw:ssh-ed25519 AAAA\nlab:ssh-ed25519 LAB\n"


def test_published_host_keys_are_guest_attributes(machine: Machine) -> None:
    published = machine.directory / "metadata" / "published"
    published.mkdir(parents=True)
    (published / "ed25519").write_text("ssh-ed25519 AAAAKEY \n")
    assert machine.published == {"hostkeys/ssh-ed25519": "AAAAKEY"}
