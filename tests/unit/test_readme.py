"""Every khw command in the README is one that khw has, with options that it takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from khw.cli import main
from khw.phases import PHASES

README = (Path(__file__).parents[2] / "README.md").read_text()
LINES = [line.strip() for line in README.splitlines() if re.match(r" {4}khw ", line)]
INLINE = re.findall(r"`(khw [^`]+)`", README)
COMMANDS = sorted({part.strip() for text in (*LINES, *INLINE) for part in text.partition("#")[0].split("&&")})


def test_the_readme_shows_commands() -> None:
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("text", COMMANDS)
def test_a_command_of_the_readme_is_one_of_ours(text: str) -> None:
    words = shlex.split(text.replace("|", " # ", 1).partition(" # ")[0])[1:]
    command: click.Command = main
    context = click.Context(main, info_name="khw")
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found, text
        command, context = found, click.Context(found, parent=context, info_name=found.name)
    command.make_parser(context).parse_args(args=words)


def test_the_table_of_phases_is_the_one_that_is_run() -> None:
    rows = re.findall(r"^\| (\d+) \| ([a-z, -]+) \|", README, re.MULTILINE)
    told = [(int(chapter), name) for chapter, names in rows for name in names.split(", ")]
    assert sorted(told) == sorted((phase.chapter, phase.name) for phase in PHASES)
