"""
How machines of one's own are logged in to: the cluster file first, then the user's own OpenSSH configuration.

HostName, Port, User, IdentityFile and ProxyJump count, as ssh(1) would take them. Host keys that the cluster file does
not list are those that the user's own ssh knows (~/.ssh/known_hosts, hashed names too): so that a machine's first
contact is the user's, with the fingerprint before their eyes, and never khw's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from khw.errors import UsageError
from khw.ssh.known_hosts import SSH_PORT, called

if TYPE_CHECKING:
    from collections.abc import Mapping

    from khw.cluster.spec import Ssh, StaticNode

KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")


@dataclass(frozen=True, slots=True)
class Login:
    """Where and as whom one logs in; `key` and `jump` are empty where nothing is said of them."""

    host: str
    port: int
    user: str
    key: str = ""
    jump: str = ""


def login_to(row: StaticNode, ssh: Ssh) -> Login:
    """Return how this machine is logged in to."""
    alias = row.host or str(row.address)
    said = _configured(ssh.config, alias)
    identities = said.get("identityfile", ())
    jump = ssh.bastion or str(said.get("proxyjump", ""))
    return Login(
        host=str(said.get("hostname", alias)),
        port=row.port or int(str(said.get("port", SSH_PORT))),
        user=row.user or str(said.get("user", ssh.user)),
        key=str(Path(identities[0]).expanduser()) if identities and not ssh.private_key else "",
        jump="" if jump == "none" else jump,
    )


def known_keys(login: Login, files: tuple[str, ...] = KNOWN_HOSTS) -> tuple[str, ...]:
    """Return the host keys that the user's own ssh knows of this machine; none if it never was there."""
    import paramiko

    name = called(login.host, login.port)
    found: dict[str, None] = {}
    for file in (Path(text).expanduser() for text in files):
        if not file.is_file():
            continue
        for key_type, key in (paramiko.HostKeys(str(file)).lookup(name) or {}).items():
            found[f"{key_type} {key.get_base64()}"] = None
    return tuple(found)


def _configured(config: str | None, alias: str) -> Mapping[str, str | list[str]]:
    """Return what the user's configuration says of a name."""
    if not config:
        return {}
    import paramiko

    try:
        said = paramiko.SSHConfig.from_path(config).lookup(alias)
    except OSError as error:
        raise UsageError(f"ssh.config {config} cannot be read: {error.strerror}") from None
    except (paramiko.ConfigParseError, paramiko.CouldNotCanonicalize, ImportError) as error:
        raise UsageError(f"ssh.config {config} is not understood: {error}") from None
    if "proxycommand" in said and "proxyjump" not in said and said["proxycommand"] != "none":
        raise UsageError(
            f"ssh.config {config} reaches {alias} by a ProxyCommand, which khw does not run",
            hint="ProxyJump does the same for a bastion; or ssh.bastion in khw.yaml",
        )
    return dict(said)
