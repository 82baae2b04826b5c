"""What a unit file starts, read back as systemd reads it."""

from __future__ import annotations

from khw.flags.unitfile import commands, flag_names
from khw.tasks.units import render


def test_a_rendered_command_line_comes_back_word_by_word() -> None:
    flags = {"name": "node 1", "token": 'a"b\\c', "share": "50%", "cost": "$5", "list": ["a", "b"], "on": True}
    content = render(description="", documentation="", binary="/usr/local/bin/server", flags=flags)
    assert commands(content) == [
        (
            "/usr/local/bin/server",
            "--name=node 1",
            '--token=a"b\\c',
            "--share=50%",
            "--cost=$5",
            "--list=a,b",
            "--on=true",
        )
    ]


def test_every_exec_line_counts_without_its_prefix() -> None:
    content = "[Service]\nExecStartPre=-/sbin/modprobe overlay\nExecStart=/bin/server\nExecStop=+/bin/stop --now\n"
    assert commands(content) == [("/sbin/modprobe", "overlay"), ("/bin/server",), ("/bin/stop", "--now")]


def test_flag_names_have_neither_dashes_nor_values_and_end_at_two_dashes() -> None:
    argv = ("server", "--name=x", "-v", "word", "--a.b_c=--d", "--", "--no-flag")
    assert flag_names(argv) == ["name", "v", "a.b_c"]
