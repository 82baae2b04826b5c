"""The agent behind a sudo that asks for a password: the login's shell is real, sudo and id are stand-ins."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest
from localnode import LocalNode, LocalProcess

from khw.agent import bundle
from khw.errors import StepError
from khw.secret import Secret
from khw.ssh.client import Agent, RemoteCommand

if TYPE_CHECKING:
    from pathlib import Path

SUDO = """
here=$(dirname "$0")
echo "$*" >>"$here/arguments"
case $1 in
-kn) test -e "$here/free" ;;
-n) shift; exec "$@" ;;
-kS) shift 3
    IFS= read -r given
    test "$given" = right || { echo x >>"$here/failures"; echo 'Sorry, try again.' >&2; exit 1; }
    exec "$@" ;;
esac
"""


class Login(LocalProcess):
    """What sshd starts for a command, as a user who is not root."""

    def __init__(self, node: LocalNode) -> None:
        path = f"{node.root / 'bin'}:{os.environ['PATH']}"
        argv = shlex.split(bundle.remote_command(password=True))
        self.process = subprocess.Popen(argv, stdin=-1, stdout=-1, stderr=-1, env={**os.environ, "PATH": path})


@pytest.fixture
def node(tmp_path: Path) -> LocalNode:
    it = LocalNode(tmp_path)
    it.tool("sudo", SUDO)
    it.tool("id", "echo 1000")
    return it


def agent(node: LocalNode, password: str) -> Agent:
    return Agent("local", Login(node), timeout=10, places=node.places, sudo=Secret(password))


def test_with_the_right_one_the_agent_serves(node: LocalNode) -> None:
    with agent(node, "right") as it:
        (answer,) = it.run(RemoteCommand(("cat",), stdin=b"hello"))
    assert answer.out == "hello"
    assert "right" not in (node.root / "bin/arguments").read_text()


def test_a_wrong_one_is_one_failure_and_is_named(node: LocalNode) -> None:
    with pytest.raises(StepError, match="sudo does not take the password"):
        agent(node, "wrong")
    assert (node.root / "bin/failures").read_text() == "x\n"


def test_where_sudo_asks_for_none_it_is_passed_over(node: LocalNode) -> None:
    (node.root / "bin/free").touch()
    with agent(node, "whatever") as it:
        assert it.run(RemoteCommand(("true",)))[0].code == 0


def test_root_needs_no_sudo(node: LocalNode) -> None:
    node.tool("id", "echo 0")
    with agent(node, "whatever") as it:
        assert it.run(RemoteCommand(("true",)))[0].code == 0
    assert not (node.root / "bin/arguments").exists()
