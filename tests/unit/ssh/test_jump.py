from __future__ import annotations

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
