"""
The text of systemd units, printed as the guide prints them: one flag a line, readable by a person.

    render(
        description="etcd", documentation="https://etcd.io/docs/", binary="/usr/local/bin/etcd",
        flags={"name": "controller-0", "client-cert-auth": True}, service={"Type": "notify"}, sandbox=STRICT,
    )
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Flag: TypeAlias = str | int | bool | Sequence[str]
Options: TypeAlias = Mapping[str, str | int | bool | Sequence[str]]

CIPHER_SUITES = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
)
"""What servers take below TLS 1.3, which has its own: forward secrecy, authenticated, for khw's ECDSA keys."""

STRICT: Options = {
    "NoNewPrivileges": True,
    "ProtectSystem": "strict",
    "ProtectHome": True,
    "ProtectProc": "invisible",
    "ProtectClock": True,
    "ProtectHostname": True,
    "ProtectControlGroups": True,
    "ProtectKernelLogs": True,
    "ProtectKernelModules": True,
    "ProtectKernelTunables": True,
    "PrivateDevices": True,
    "PrivateTmp": True,
    "RemoveIPC": True,
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": True,
    "RestrictRealtime": True,
    "RestrictSUIDSGID": True,
    "LockPersonality": True,
    "MemoryDenyWriteExecute": True,
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
    "CapabilityBoundingSet": "",
    "UMask": "0077",
}
"""What a daemon can live with that only talks over the network and writes to its own directories. Those are
added as ReadWritePaths; they belong to root, so that no capability is needed."""


def arguments(values: Mapping[str, Flag]) -> tuple[str, ...]:
    """Return `--name=value` for each: booleans as true|false, sequences with commas."""
    return tuple(f"--{name}={_flag(value)}" for name, value in values.items())


def render(  # noqa: PLR0913 - the parts of a unit file, by keyword only
    *,
    description: str,
    documentation: str,
    binary: str,
    flags: Mapping[str, Flag] | None = None,
    words: Sequence[str] = (),
    unit: Options | None = None,
    service: Options | None = None,
    sandbox: Options | None = None,
    restart: str = "on-failure",
    restart_sec: int = 5,
    wanted_by: str = "multi-user.target",
) -> str:
    """
    Return a service unit.

    `words` are arguments that are no --name=value. `unit` are further lines of [Unit] (After, Requires …), `service`
    and `sandbox` of [Service]. A sequence gives the option once a value (ExecStartPre, Environment …); booleans are
    true|false.
    """
    command = (binary, *words, *arguments(flags or {}))
    head: Options = {"Description": description, "Documentation": documentation, **(unit or {})}
    body: Options = {
        **(service or {}),
        "ExecStart": " \\\n  ".join(_quote(word) for word in command),
        "Restart": restart,
        "RestartSec": restart_sec,
        **(sandbox or {}),
    }
    return "\n".join(
        (
            "[Unit]",
            *_lines(head),
            "",
            "[Service]",
            *_lines(body),
            "",
            "[Install]",
            f"WantedBy={wanted_by}",
            "",
        )
    )


def _flag(value: Flag) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    return ",".join(value)


def _lines(options: Options) -> list[str]:
    lines = []
    for name, value in options.items():
        values = (_flag(value),) if isinstance(value, str | int) else value
        lines += [f"{name}={one}" for one in values]
    return lines


def _quote(word: str) -> str:
    """Return `word` so that systemd passes it on as it is: no specifier, no variable, no splitting."""
    word = word.replace("%", "%%").replace("$", "$$")
    if any(character in word for character in " \t\"'\\;"):
        return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return word
