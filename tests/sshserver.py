"""An SSH server on loopback, in this process (paramiko has one). It runs what it is asked to run, as whoever tests."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import paramiko

if TYPE_CHECKING:
    from pathlib import Path

SUDO = '#!/bin/sh\nshift\nexec "$@"\n'  # sudo -n COMMAND: where tests do not run as root


class Server(paramiko.ServerInterface):
    """Takes one key, and commands (or none, without `commands`); it has no terminals."""

    def __init__(self, allowed: paramiko.PKey, path: str, *, commands: bool = True) -> None:
        self._allowed = allowed
        self._path = path
        self._commands = commands

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.common.AUTH_SUCCESSFUL if key == self._allowed else paramiko.common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if not self._commands:
            return False
        threading.Thread(target=self._run, args=(channel, command), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel, command: bytes) -> None:
        environment = {**os.environ, "PATH": self._path}
        with subprocess.Popen(["/bin/sh", "-c", command], stdin=-1, stdout=-1, stderr=-1, env=environment) as child:
            feeder = threading.Thread(target=_feed, args=(channel, child), daemon=True)
            feeder.start()
            assert child.stdout
            assert child.stderr
            with suppress(OSError):
                while data := os.read(child.stdout.fileno(), 65536):
                    channel.sendall(data)
                channel.sendall_stderr(child.stderr.read())
            code = child.wait()
            with suppress(OSError, EOFError):
                channel.send_exit_status(code)
            channel.close()
            feeder.join()


def _feed(channel: paramiko.Channel, child: subprocess.Popen[bytes]) -> None:
    assert child.stdin
    with suppress(OSError):
        while data := channel.recv(65536):
            child.stdin.write(data)
            child.stdin.flush()
    with suppress(OSError):
        child.stdin.close()


class SshServer:
    """The server; `refuse` logins are dropped before it takes one, as sshd does at its limit."""

    def __init__(
        self, directory: Path, *, refuse: int = 0, path: str = os.environ["PATH"], commands: bool = True
    ) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        self.private_key = directory / "ssh_key"
        self.private_key.write_bytes(private)
        self.host_key = paramiko.ECDSAKey.generate()
        tools = directory / "tools"
        tools.mkdir()
        (tools / "sudo").write_text(SUDO)
        (tools / "sudo").chmod(0o755)
        key = paramiko.Ed25519Key.from_private_key_file(str(self.private_key))
        self._server = Server(key, f"{tools}:{path}", commands=commands)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.known_hosts = directory / "known_hosts"
        self.know(self.host_key)
        self.transports: list[paramiko.Transport] = []
        self.logins = 0
        self._refuse = refuse
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def know(self, key: paramiko.PKey) -> None:
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {key.get_name()} {key.get_base64()}\n")

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.logins += 1
            if self.logins <= self._refuse:
                client.close()
                continue
            transport = paramiko.Transport(client)
            transport.add_server_key(self.host_key)
            self.transports.append(transport)
            with suppress(OSError, EOFError, paramiko.SSHException):
                transport.start_server(event=threading.Event(), server=self._server)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5)
        for transport in self.transports:
            transport.close()
