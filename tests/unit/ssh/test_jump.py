from __future__ import annotations

import shlex
import sys

from khw.ssh.jump import Jump, Passage


def test_the_last_hop_forwards_and_those_before_it_are_jumped() -> None:
    argv = Jump("a@one:2222,b@two:2200", "/my/config").command("10.0.0.5", 22, 7.4)
    assert argv[:3] == ["ssh", "-F", "/my/config"]
    assert argv[-7:] == ["-J", "a@one:2222", "-p", "2200", "-W", "10.0.0.5:22", "b@two"]
    assert "ConnectTimeout=7" in argv
    assert "BatchMode=yes" in argv


def test_bytes_pass_both_ways_and_the_process_ends_with_the_socket() -> None:
    passage = Passage(["cat"])
    passage.socket.settimeout(10)
    passage.socket.sendall(b"hello")
    assert passage.socket.recv(5) == b"hello"
    passage.socket.close()
    assert passage.last_words(10) == ""
    assert passage._process.returncode == 0


def test_what_the_bastions_ssh_said_is_kept() -> None:
    passage = Passage([sys.executable, "-c", "import sys; sys.exit('Host key verification failed.')"])
    with passage.socket:
        assert passage.last_words(10) == "Host key verification failed."


OWN = Jump("khw@203.0.113.9", key="/k/ssh_key", known_hosts="/k/known_hosts")


def test_a_bastion_of_khws_own_takes_its_key_and_published_host_keys_and_nothing_of_the_users() -> None:
    argv = OWN.command("10.240.0.20", 22, 20)
    assert argv[:5] == ["ssh", "-F", "none", "-i", "/k/ssh_key"]
    for option in (
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "StrictHostKeyChecking=yes",
        "UserKnownHostsFile=/k/known_hosts",
        "GlobalKnownHostsFile=none",
        "BatchMode=yes",
    ):
        assert option in argv
    assert argv[-3:] == ["-W", "10.240.0.20:22", "khw@203.0.113.9"]
    assert "source_ranges" in OWN.hint


def test_khw_ssh_goes_the_same_way() -> None:
    flag, option = OWN.options("10.240.0.20", 22, 20)
    assert flag == "-o"
    assert shlex.split(option.removeprefix("ProxyCommand=")) == OWN.command("10.240.0.20", 22, 20)
    assert Jump("a@one", "/my/config").options("n", 22, 20) == ["-F", "/my/config", "-J", "a@one"]
