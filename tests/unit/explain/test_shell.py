"""Resources as shell: run by a real sh where a test may, read where it may not."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from fakes import cluster

from khw.converge.resources import (
    Absent,
    Binary,
    Command,
    Directory,
    File,
    Image,
    Manifest,
    Package,
    Require,
    Unit,
    Wait,
)
from khw.engine.phases import PHASES
from khw.explain import symbols
from khw.explain.shell import FUNCTIONS, Needed, heredoc, lines, script
from khw.flags.rendered import FACTS
from khw.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from khw.converge.resources import Resource

CLUSTER = cluster()


def sh(text: str, *, files: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-eu"],
        input=text,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "KHW_FILES": str(files or "")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def done(*resources: Resource, files: Path | None = None) -> subprocess.CompletedProcess[str]:
    needed = Needed()
    body = script(resources, needed)
    return sh("\n".join([*(FUNCTIONS[name] for name in needed.functions), body]), files=files)


def test_a_file_is_written_as_it_is_whatever_the_shell_makes_of_such_text(tmp_path: Path) -> None:
    text = "a $HOME `id` \\ 'quoted' \"twice\"\nEOF\nlast\n"
    target = tmp_path / "file"
    assert done(File(path=str(target), content=text, mode=0o640)).returncode == 0
    assert target.read_text() == text
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_key_comes_from_the_operators_copy_and_is_in_no_script(tmp_path: Path) -> None:
    pki = symbols.pki(CLUSTER)
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "admin-key.pem").write_text("the key")
    file = File(path=str(tmp_path / "key.pem"), content=pki.pair("admin").key, mode=0o600)
    needed = Needed()
    assert lines(file, needed) == f'install -m 0600 "$KHW_FILES/pki/admin-key.pem" {tmp_path}/key.pem'
    assert list(needed.pki) == ["admin-key.pem"]
    assert done(file, files=tmp_path).returncode == 0
    assert (tmp_path / "key.pem").read_text() == "the key"


def test_what_a_file_embeds_is_put_in_by_the_shell_and_the_rest_stays(tmp_path: Path) -> None:
    pki = symbols.pki(CLUSTER)
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "encryption-key").write_text("c2VjcmV0\n")
    (tmp_path / "pki" / "admin.pem").write_text("certificate\n")
    from base64 import b64encode

    text = f"a: {b64encode(pki.pair('admin').certificate).decode()}\nb: $x `y` \\z\n"
    text += f"c: {b64encode(pki.encryption_key.reveal()).decode()}\n"
    target = tmp_path / "config"
    assert done(File(path=str(target), content=Secret(text), mode=0o600), files=tmp_path).returncode == 0
    embedded = b64encode(b"certificate\n").decode()
    assert target.read_text() == f"a: {embedded}\nb: $x `y` \\z\nc: c2VjcmV0\n"


def test_a_directory_and_what_is_not_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    assert done(Directory(path=str(tmp_path / "new"), mode=0o700), Absent(path=str(tmp_path / "old"))).returncode == 0
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "old").exists()


def test_a_command_is_run_only_where_it_is_needed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    command = Command(name="x", argv=("sh", "-c", f"echo ran >>{mark}"), unless=("test", "-e", str(mark)))
    assert done(command, command).returncode == 0
    assert mark.read_text() == "ran\n"


def test_a_command_gets_its_standard_input(tmp_path: Path) -> None:
    command = Command(name="x", argv=("tee", str(tmp_path / "x")), unless=("false",), stdin="$a\n")
    assert done(command).returncode == 0
    assert (tmp_path / "x").read_text() == "$a\n"


def test_a_person_types_what_a_program_would_do() -> None:
    command = Command(name="x", argv=("python3", "-"), unless=("false",), stdin="print(1)", by_hand="echo by hand\n")
    assert lines(command, Needed()) == "echo by hand"


def test_a_wait_ends_when_what_is_expected_is_printed(tmp_path: Path) -> None:
    count = tmp_path / "count"
    argv = ("sh", "-c", f"echo x >>{count}; wc -l <{count}")
    assert done(Wait(name="two", argv=argv, expect="2", timeout=9.0)).returncode == 0
    late = done(Wait(name="never", argv=("echo", "no"), expect="yes", timeout=0.0))
    assert late.returncode == 1
    assert "never: not true in time: no" in late.stderr


def test_all_that_is_missing_is_told_at_once() -> None:
    wanted = [Require(name=n, argv=("sh", "-c", 'test "$1" = ok', "sh", n), problem=f"no {n}", hint="do") for n in "ab"]
    fine = Require(name="ok", argv=("sh", "-c", 'test "$1" = ok', "sh", "ok"), problem="not ok", hint="do")
    said = done(*wanted, fine)
    assert said.returncode == 1
    assert said.stderr == "no a\n  → do\nno b\n  → do\n"


def test_binaries_and_images_come_from_the_operators_copies() -> None:
    needed = Needed()
    assert lines(Binary(path="/usr/local/bin/etcd", artifact="etcd"), needed) == (
        'install -m 0755 "$KHW_FILES/artifacts/etcd" /usr/local/bin/etcd'
    )
    assert '"$KHW_FILES/artifacts/image-pause"' in lines(Image(artifact="image-pause", reference="p:1"), needed)
    assert list(needed.artifacts) == ["etcd", "image-pause"]


def test_a_unit_that_waits_for_others_is_not_waited_for() -> None:
    text = lines(Unit(name="etcd.service", content="[Service]\n", block=False), Needed())
    assert text.endswith("systemctl restart --no-block etcd.service")
    assert "install -m 0600 /dev/stdin /etc/systemd/system/etcd.service <<'EOF'\n[Service]\nEOF" in text


def test_packages_and_objects() -> None:
    package = lines(Package(name="kmod", provides="modprobe"), Needed())
    assert package.endswith("|| { apt-get update; apt-get install -y --no-install-recommends kmod; }")
    manifest = lines(Manifest(name="x", documents="kind: X\n", kubeconfig="/k"), Needed())
    assert manifest.startswith("kubectl --kubeconfig /k apply --server-side")


def test_a_here_document_never_ends_early() -> None:
    assert heredoc("EOF\n").splitlines()[-1] == "EOF_"


@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase.task], ids=lambda phase: phase.name)
def test_what_every_phase_asks_for_is_shell_that_sh_can_read(phase: object) -> None:
    pki = symbols.pki(CLUSTER)
    for node in CLUSTER.nodes:
        for facts in FACTS:
            if phase.on(node):  # type: ignore[attr-defined]
                resources = list(phase.task(node.with_facts(facts), CLUSTER, pki))  # type: ignore[attr-defined]
                read = subprocess.run(
                    ["sh", "-n"], input=script(resources), capture_output=True, text=True, timeout=30, check=False
                )
                assert read.returncode == 0, read.stderr
