"""
SSH to a node, and the agent at its far end.

`KhwConnection` is a Nornir connection plugin ("khw_agent"): nornir-netmiko opens the connection, the agent takes one
exec channel on it. `open_agent` does the same without Nornir. Host keys are never trusted on first use.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from khw import interrupt
from khw.errors import HostKeyError, KhwError, UnreachableError
from khw.ssh import libraries
from khw.ssh.client import Agent, Completed, FileState, Payload, RemoteCommand
from khw.ssh.known_hosts import called

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import paramiko
    from netmiko import BaseConnection
    from nornir.core.configuration import Config

    from khw.secret import Secret
    from khw.ssh.jump import Jump, Passage

CONNECTION = "khw_agent"  # Nornir keeps the names of all kinds of plugins in one place, and "khw" is the inventory's

__all__ = ["CONNECTION", "Agent", "Completed", "FileState", "KhwConnection", "Payload", "RemoteCommand", "open_agent"]

# Paramiko prefers CTR and CBC; GCM is the fast one (a third of the time). A server without it gets a second try.
SLOW_CIPHERS = ("aes128-ctr", "aes192-ctr", "aes256-ctr", "aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc")
FAST = {"ciphers": list(SLOW_CIPHERS)}
DEAD_AFTER = 15_000  # milliseconds until the kernel gives up on data that is not acknowledged
PACKET = 32 << 10
NO_SUCH_KEY = "Host key verification failed"  # as ssh(1) says it
LAST_WORDS = 2.0  # seconds for the exit status of a process that has closed its output

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # or its tracebacks land on our stderr


class SshChannel:
    """The agent's exec channel; `close` closes the whole connection."""

    def __init__(self, channel: paramiko.Channel, close: Callable[[], None]) -> None:
        self._channel = channel
        self._close = close

    def send(self, data: bytes, timeout: float) -> None:
        """Send all of `data`."""
        self._channel.settimeout(timeout)
        sent = 0
        while sent < len(data):
            count = self._channel.send(data[sent : sent + PACKET])
            if not count:
                msg = "the channel is closed"
                raise OSError(msg)
            sent += count

    def receive(self, limit: int, timeout: float) -> bytes:
        """Return what there is."""
        self._channel.settimeout(timeout)
        return self._channel.recv(limit)

    def ready(self) -> bool:
        """Whether something is there to receive."""
        return self._channel.recv_ready() or bool(self._channel.eof_received) or self._channel.closed

    def last_words(self) -> str:
        """Return standard error."""
        self._channel.status_event.wait(LAST_WORDS)
        said = bytearray()
        while self._channel.recv_stderr_ready():
            said += self._channel.recv_stderr(PACKET)
        return said.decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Close the channel and its connection."""
        self._close()


class KhwConnection:
    """
    The Nornir connection plugin "khw_agent": `host.get_connection("khw_agent", config)` returns an `Agent`.

    Its options are netmiko's (`key_file`, `alt_key_file`, `conn_timeout` …), and `name`, what errors call the host,
    `host_keys`, those that it may have (instead of those in `alt_key_file`, which has all hosts': netmiko reads it for
    each connection), `unreachable`, why there is no use in trying, if its provider knows, and `early`, which returns
    the agent of a login that was begun already (khw.ssh.early), or None; `jump` (khw.ssh.jump), and `sudo`, which
    returns the password that sudo asks for.
    """

    connection: Agent

    def open(  # noqa: PLR0913 - Nornir's signature
        self,
        hostname: str | None,
        username: str | None,
        password: str | None,
        port: int | None,
        platform: str | None,
        extras: dict[str, Any] | None = None,
        configuration: Config | None = None,
    ) -> None:
        """Open the connection and start the agent."""
        options = dict(extras or {})
        name = options.pop("name", None) or hostname or ""
        if reason := options.pop("unreachable", ""):
            raise UnreachableError(str(reason), node=name, hint="khw inventory -o wide shows the machines")
        if (early := options.pop("early", None)) and (agent := early()):
            self.connection = agent
            return
        timeout = float(options.get("conn_timeout", 20.0))
        keys = options.pop("host_keys", None)
        jump: Jump | None = options.pop("jump", None)
        sudo: Callable[[], Secret | None] = options.pop("sudo", lambda: None)
        ways: list[Passage] = []

        libraries.load()

        def login(patience: float, algorithms: dict[str, list[str]]) -> paramiko.SSHClient:
            from nornir_netmiko.connections import Netmiko

            netmiko = Netmiko()
            limits = dict.fromkeys(("conn_timeout", "auth_timeout", "banner_timeout"), patience)
            strict = {"ssh_strict": True, "disabled_algorithms": algorithms, "auto_connect": False}
            kind = platform if platform and platform != "linux" else libraries.NODE
            arguments = {**options, **limits, **strict}
            if jump:
                ways[:] = [jump.open(hostname or "", port or 22, patience)]
                arguments["sock"] = ways[0].socket
            with _known_hosts(hostname or "", port or 22, keys) as file:
                netmiko.open(hostname, username, password, port or 22, kind, {**arguments, **file}, configuration)
                try:
                    return _without_shell(netmiko.connection)
                except Exception:
                    if jump and NO_SUCH_KEY in ways[0].last_words():
                        raise _not_that_bastion(jump, name) from None
                    raise

        try:
            self.connection = _start(login, name, f"{hostname}:{port or 22}", timeout, sudo())
        except HostKeyError:
            raise
        except UnreachableError as error:
            if ways and (said := ways[0].last_words()):
                raise UnreachableError(
                    f"{error.message}; the bastion {jump.hops if jump else ''}: {said}",
                    node=name,
                    hint=jump.hint if jump else "",
                ) from None
            raise

    def close(self) -> None:
        """Close the connection; the agent ends."""
        self.connection.close()


def _not_that_bastion(jump: Jump, name: str) -> HostKeyError:
    return HostKeyError(
        f"the bastion {jump.hops} has no host key that is known for it",
        node=name,
        hint="was it made anew? Then khw run reads its new key from its provider. If not, somebody may be in between: "
        "do not go on"
        if jump.key
        else "make the first contact yourself, with your own ssh, and compare the fingerprint",
    )


@contextmanager
def _known_hosts(hostname: str, port: int, keys: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    """Give netmiko's option for a file, on no disk, that has this host's keys and no others; none if none are said."""
    if keys is None:
        yield {}
        return
    name = called(hostname, port)
    descriptor = os.memfd_create("known_hosts")
    try:
        os.write(descriptor, "".join(f"{name} {key}\n" for key in keys).encode())
        yield {"alt_host_keys": True, "alt_key_file": f"/proc/self/fd/{descriptor}"}
    finally:
        os.close(descriptor)


def _without_shell(prepared: BaseConnection) -> paramiko.SSHClient:
    """Log in as netmiko would, and open no terminal: nobody types in it, and it is three round trips."""
    client: paramiko.SSHClient = prepared._build_ssh_client()
    try:
        client.connect(**prepared._connect_params_dict())
    except BaseException:
        client.close()
        raise
    return client


def open_agent(  # noqa: PLR0913 - all are what a login takes
    *,
    host: str,
    port: int = 22,
    user: str,
    private_key: Path,
    known_hosts: Path,
    name: str = "",
    connect_timeout: float = 20.0,
) -> Agent:
    """Connect to a node and start the agent."""
    libraries.load()

    def login(patience: float, algorithms: dict[str, list[str]]) -> paramiko.SSHClient:
        import paramiko

        client = paramiko.SSHClient()
        if known_hosts.exists():
            client.load_host_keys(str(known_hosts))
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        try:
            client.connect(
                host,
                port,
                user,
                key_filename=str(private_key),
                look_for_keys=False,
                allow_agent=False,
                timeout=patience,
                banner_timeout=patience,
                auth_timeout=patience,
                disabled_algorithms=algorithms,
            )
        except BaseException:
            client.close()
            raise
        return client

    return _start(login, name or host, f"{host}:{port}", connect_timeout)


def _start(
    login: Callable[[float, dict[str, list[str]]], paramiko.SSHClient],
    name: str,
    address: str,
    timeout: float,
    sudo: Secret | None = None,
) -> Agent:
    from khw.agent.bundle import remote_command

    client = _patiently(login, name, address, timeout)
    try:
        channel = _executed(client, remote_command(password=sudo is not None), timeout)
        return Agent(name, SshChannel(channel, client.close), timeout=timeout, sudo=sudo)
    except KhwError:
        client.close()
        raise
    except Exception as error:
        client.close()
        msg = f"the node takes the login and then no command: {error}"
        raise UnreachableError(msg, node=name) from error


def _executed(client: paramiko.SSHClient, command: str, timeout: float) -> paramiko.Channel:
    transport = client.get_transport()
    if transport is None:
        raise EOFError
    _tune(transport.sock)
    channel = transport.open_session(timeout=timeout)
    # What the command reads is sent behind it at once: a server that refuses the command closes the channel.
    channel._wait_for_event = lambda: None  # type: ignore[attr-defined]
    channel.exec_command(command)
    del channel._wait_for_event  # type: ignore[attr-defined]
    return channel


def _patiently(
    login: Callable[[float, dict[str, list[str]]], paramiko.SSHClient], name: str, address: str, timeout: float
) -> paramiko.SSHClient:
    """Log in; try again, with jitter, until the time is over: sshd drops logins when many come at once."""
    deadline = time.monotonic() + timeout
    algorithms: dict[str, list[str]] = FAST
    pauses = _pauses()
    while True:
        try:
            return login(max(1.0, deadline - time.monotonic()), algorithms)
        except Exception as error:  # noqa: BLE001 - netmiko and paramiko raise what they like; each ends as one of ours
            cause = _cause(error)
            if isinstance(cause, KhwError):
                raise cause from None
            if changed := _host_key_error(cause, name, address):
                raise changed from None
            if type(cause).__name__ == "IncompatiblePeer" and algorithms:
                algorithms = {}
                continue
            pause = next(pauses)
            if not _passing(cause) or time.monotonic() + pause > deadline:
                raise _unreachable(cause, name, address, timeout) from None
            interrupt.pause(pause)


def _pauses() -> Iterator[float]:
    longest = 0.25
    while True:
        yield random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, guards nothing
        longest = min(2.0, longest * 2)


def _cause(error: BaseException) -> BaseException:
    """Return what was raised first: netmiko wraps everything in its own words."""
    while type(error).__module__.startswith("netmiko") and error.__context__ is not None:
        error = error.__context__
    return error


def _passing(cause: BaseException) -> bool:
    """Whether another try may help: the network, a server at its limit, a machine that still boots."""
    import paramiko

    return isinstance(cause, OSError | EOFError | paramiko.SSHException) and not isinstance(
        cause, socket.gaierror | FileNotFoundError | PermissionError
    )


def _host_key_error(cause: BaseException, name: str, address: str) -> HostKeyError | None:
    import paramiko

    if isinstance(cause, paramiko.BadHostKeyException):
        return HostKeyError(
            f"the host key of {address} has changed: expected {cause.expected_key.fingerprint}, "
            f"seen {cause.key.fingerprint}",
            node=name,
            hint="was the machine made anew? Then khw run reads its new key from its provider. If not, somebody may "
            "be in between: do not go on",
        )
    if isinstance(cause, paramiko.SSHException) and "not found in known_hosts" in str(cause):
        return HostKeyError(
            f"no host key is known for {address}, and none is trusted on first use",
            node=name,
            hint="its provider has not published one: has the machine booted? For static nodes: host_keys in khw.yaml",
        )
    return None


def _unreachable(cause: BaseException, name: str, address: str, timeout: float) -> UnreachableError:
    import paramiko

    if isinstance(cause, paramiko.AuthenticationException):
        return UnreachableError(
            f"{address} refuses the login: {cause}",
            node=name,
            hint="is khw's public key in the user's authorized_keys, and the user name right (ssh in khw.yaml)?",
        )
    return UnreachableError(
        f"{address} does not answer over SSH within {timeout:g} s: {cause or type(cause).__name__}",
        node=name,
        hint="is the machine running, and port 22 open from here?",
    )


def _tune(sock: Any) -> None:
    """Send small packets at once, and notice a dead peer; through a bastion that is its ssh's to do."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", 5),
        ("TCP_KEEPINTVL", 3),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", DEAD_AFTER),
    ):
        if hasattr(socket, option):  # Linux has them all
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
