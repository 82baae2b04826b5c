"""A flag or a field that a pinned binary does not have is an error before any node is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from khw.errors import FlagError, UsageError
from khw.flags.asking import Room

if TYPE_CHECKING:
    from conftest import Stage


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that binaries were started with."""
    lines: list[list[str]] = []
    ask = Room.ask

    def noted(self: Room, binary: Any, arguments: Any, **more: Any) -> Any:
        lines.append(list(arguments))
        return ask(self, binary, arguments, **more)

    monkeypatch.setattr(Room, "ask", noted)
    return lines


def test_what_the_binary_knows_passes_and_changes_nothing(stage: Stage) -> None:
    (change,) = stage.look()
    assert not change.changed
    assert stage.said == []


def test_an_unknown_flag_is_named_with_unit_version_nodes_and_the_near_name(stage: Stage) -> None:
    stage.flags["prot"] = "80"
    with pytest.raises(FlagError) as caught:
        stage.look()
    assert isinstance(caught.value, UsageError)
    assert caught.value.message == (
        "server.service: --prot is not a flag of server v1.2; did you mean --port? "
        "(controller-0, controller-1, controller-2)"
    )


def test_every_unknown_flag_is_told_at_once(stage: Stage) -> None:
    stage.flags |= {"prot": "80", "nmae": "x"}
    with pytest.raises(FlagError, match=r"(?s)2 flags or fields.*--prot.*--nmae"):
        stage.look()


def test_an_unknown_field_is_named_with_its_file(stage: Stage) -> None:
    stage.config += "bogus: 1\n"
    with pytest.raises(FlagError, match=r"^/etc/server\.yaml: bogus is not a field that server v1\.2 knows"):
        stage.look()


def test_a_hidden_deprecated_flag_is_no_error_but_is_told_every_time(stage: Stage) -> None:
    stage.flags["old-port"] = "80"
    for _ in range(2):
        stage.said.clear()
        stage.look()
        assert stage.said == ["server.service: --old-port is deprecated in server v1.2: use --port"]


def test_a_second_run_starts_no_process(stage: Stage, asked: list[list[str]]) -> None:
    stage.look()
    assert asked
    asked.clear()
    stage.look()
    assert asked == []


def test_nodes_that_differ_in_their_names_alone_are_asked_about_once(stage: Stage, asked: list[list[str]]) -> None:
    stage.look()
    assert [line[-1] for line in asked] == ["--help"] * 2  # the list of flags, and one of three command lines


def test_a_changed_file_is_asked_about_again(stage: Stage, asked: list[list[str]]) -> None:
    stage.look()
    asked.clear()
    stage.config += "name: x\n"
    stage.look()
    assert len(asked) == 1


def test_what_was_refused_is_refused_again(stage: Stage) -> None:
    stage.config += "bogus: 1\n"
    for _ in range(2):
        with pytest.raises(FlagError):
            stage.look()


def test_another_binary_is_asked_anew(stage: Stage, asked: list[list[str]]) -> None:
    stage.look()
    asked.clear()
    stage.binary.unlink()
    stage.script = stage.script.replace(b"|--port=*)", b")").replace(b"--port int", b"--poort int")
    stage.flags["port"] = "80"
    with pytest.raises(FlagError, match=r"--port is not a flag of server v1\.2; did you mean --poort"):
        stage.look()


def test_a_damaged_memory_is_made_anew(stage: Stage) -> None:
    stage.look()
    (kept,) = stage.kept
    kept.write_text("{")
    stage.look()
    assert kept.read_text() != "{"


def test_a_binary_for_another_machine_is_a_notice_and_no_error(stage: Stage) -> None:
    stage.script = b"\x7fELF of another architecture"
    stage.look()
    (said,) = stage.said
    assert said.startswith("flags and fields not checked beforehand for server: this machine cannot run it (Exec ")


def test_a_plan_fetches_and_keeps_nothing(stage: Stage) -> None:
    stage.look(check=True)
    assert stage.kept == []
    stage.here = False
    stage.look(check=True)
    assert stage.said == ["flags and fields not checked beforehand for server: not in the artifact cache yet"]


def test_the_binary_reads_a_copy_of_the_file_and_never_the_path_of_the_node(
    stage: Stage, asked: list[list[str]]
) -> None:
    stage.look()
    (path,) = [word for word in asked[-1] if word.startswith("--config=")]
    assert path.endswith("/etc/server.yaml")
    assert path != "--config=/etc/server.yaml"
