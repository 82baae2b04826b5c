from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import paramiko
import pytest
from sshserver import SshServer

from khw.errors import HostKeyError, StepError, UnreachableError
from khw.ssh.client import Agent, RemoteCommand
from khw.ssh.connection import KhwConnection, SshChannel, open_agent
from khw.ssh.jump import Jump


def connect(server: SshServer, **options: Any) -> Agent:
    arguments: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": "khw",
        "private_key": server.private_key,
        "known_hosts": server.known_hosts,
        "name": "worker-0",
        "connect_timeout": 10.0,
    }
    return open_agent(**{**arguments, **options})


def test_an_agent_answers_over_ssh(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(3_000_000))
    with SshServer(tmp_path) as server, connect(server) as agent:
        assert agent.run(RemoteCommand(("cat",), stdin=b"x" * 100_000))[0].out == "x" * 100_000
        assert agent.read(str(big)) == big.read_bytes()
        assert agent.round_trips == 2


def test_the_cipher_is_the_fast_one_and_small_packets_do_not_wait(tmp_path: Path) -> None:
    with SshServer(tmp_path) as server, connect(server) as agent:
        assert isinstance(agent._channel, SshChannel)  # what it runs on is what this is about
        transport = agent._channel._channel.get_transport()
        assert transport.local_cipher == "aes128-gcm@openssh.com"
        assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_login_waits_for_no_answer_that_it_can_do_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a round trip; the server has no terminal either, which netmiko would open by itself."""
    monkeypatch.setattr(paramiko.Channel, "_request_success", lambda _channel, _message: None)
    with SshServer(tmp_path) as server, connect(server) as agent:
        assert agent.facts.kernel


def test_a_node_that_takes_no_commands_says_so(tmp_path: Path) -> None:
    with SshServer(tmp_path, commands=False) as server, pytest.raises(UnreachableError, match="ended as soon as"):
        connect(server)


def test_a_server_without_fast_ciphers_is_taken_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SshServer(tmp_path) as server:
        server_side = paramiko.Transport.__init__

        def only_ctr(transport: paramiko.Transport, *args: Any, **kwargs: Any) -> None:
            server_side(transport, *args, **kwargs)
            if args[0].getsockname()[1] == server.port:
                transport.get_security_options().ciphers = ("aes128-ctr",)

        monkeypatch.setattr(paramiko.Transport, "__init__", only_ctr)
        with connect(server) as agent:
            assert agent.facts.kernel
        assert server.logins == 2


def test_nornir_gets_an_agent_through_netmiko(tmp_path: Path) -> None:
    with SshServer(tmp_path) as server:
        connection = KhwConnection()
        connection.open(
            "127.0.0.1",
            "khw",
            None,
            server.port,
            "linux",
            extras={
                "name": "worker-0",
                "use_keys": True,
                "key_file": str(server.private_key),
                "allow_agent": False,
                "system_host_keys": False,
                "alt_host_keys": True,
                "alt_key_file": str(server.known_hosts),
                "conn_timeout": 10,
            },
        )
        assert connection.connection.name == "worker-0"
        assert connection.connection.run(RemoteCommand(("true",)))[0].code == 0
        connection.close()


@pytest.mark.parametrize("known", [True, False])
def test_a_host_is_held_to_its_own_keys_whatever_the_file_of_all_says(tmp_path: Path, *, known: bool) -> None:
    with SshServer(tmp_path) as server:
        key = server.host_key if known else paramiko.ECDSAKey.generate()
        connection = KhwConnection()
        extras = {
            "use_keys": True,
            "key_file": str(server.private_key),
            "allow_agent": False,
            "system_host_keys": False,
            "alt_host_keys": True,
            "alt_key_file": str(server.known_hosts),
            "host_keys": [f"{key.get_name()} {key.get_base64()}"],
            "conn_timeout": 10,
        }
        if known:
            connection.open("127.0.0.1", "khw", None, server.port, "linux", extras)
            connection.close()
            return
        with pytest.raises(HostKeyError, match="has changed"):
            connection.open("127.0.0.1", "khw", None, server.port, "linux", extras)


def test_a_changed_host_key_stops_it_with_both_fingerprints(tmp_path: Path) -> None:
    with SshServer(tmp_path) as server:
        other = paramiko.ECDSAKey.generate()
        server.know(other)
        with pytest.raises(HostKeyError, match="has changed") as caught:
            connect(server)
        assert other.fingerprint in caught.value.message
        assert server.host_key.fingerprint in caught.value.message
        assert server.logins == 1, "this is not tried again"


def test_an_unknown_host_key_is_not_trusted(tmp_path: Path) -> None:
    with SshServer(tmp_path) as server, pytest.raises(HostKeyError, match="none is trusted on first use"):
        connect(server, known_hosts=tmp_path / "none")


def test_dropped_logins_are_tried_again(tmp_path: Path) -> None:
    with SshServer(tmp_path, refuse=2) as server:
        with connect(server) as agent:
            assert agent.facts.kernel
        assert server.logins == 3


def test_a_key_that_is_not_taken_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with SshServer(tmp_path) as server, SshServer(tmp_path / "other") as other:
        with pytest.raises(UnreachableError, match="refuses the login") as caught:
            connect(server, private_key=other.private_key, connect_timeout=0.5)
        assert "authorized_keys" in caught.value.hint


def test_a_port_that_nobody_listens_on_is_unreachable(tmp_path: Path) -> None:
    with SshServer(tmp_path) as server:
        pass
    with pytest.raises(UnreachableError, match="does not answer over SSH") as caught:
        connect(server, connect_timeout=0.3)
    assert caught.value.node == "worker-0"
    assert caught.value.exit_code == 4


def test_a_node_without_python_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/id").symlink_to("/usr/bin/id")
    (tmp_path / "empty/sh").symlink_to("/bin/sh")
    with SshServer(tmp_path, path=str(tmp_path / "empty")) as server, pytest.raises(StepError, match="no python3"):
        connect(server)


def test_a_connection_that_breaks_is_unreachable(tmp_path: Path) -> None:
    with SshServer(tmp_path) as server:
        agent = connect(server)
        server.transports[0].close()
        with pytest.raises(UnreachableError, match="connection was lost"):
            agent.run(RemoteCommand(("true",)))
        agent.close()


def through(server: SshServer, known: Path, port: int) -> Agent:
    """Log in to `server` with a bastion before it, whose SSH is at `port`."""
    connection = KhwConnection()
    jump = Jump(f"ssh://khw@127.0.0.1:{port}", key=str(server.private_key), known_hosts=str(known))
    options = {"key_file": str(server.private_key), "name": "worker-0", "jump": jump, "conn_timeout": 20.0}
    keys = [f"{server.host_key.get_name()} {server.host_key.get_base64()}"]
    connection.open("127.0.0.1", "khw", None, server.port, "linux", {**options, "host_keys": keys})
    return connection.connection


def test_a_bastion_with_another_host_key_than_it_published_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "bastion").mkdir()
    with SshServer(tmp_path / "node") as node, SshServer(tmp_path / "bastion") as bastion:
        bastion.know(paramiko.ECDSAKey.generate())
        began = time.monotonic()
        with pytest.raises(HostKeyError, match=r"the bastion ssh://khw@127\.0\.0\.1:\d+ has no host key that is known"):
            through(node, bastion.known_hosts, bastion.port)
        assert time.monotonic() - began < 10
        assert node.logins == 0
