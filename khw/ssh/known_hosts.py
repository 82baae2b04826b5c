"""How OpenSSH's known_hosts calls a machine (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""

from __future__ import annotations

SSH_PORT = 22


def called(host: str, port: int) -> str:
    """Return the name that a machine's keys are listed under."""
    return host if port == SSH_PORT else f"[{host}]:{port}"
