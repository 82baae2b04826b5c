"""The SSH key that khw logs in with: its own, made for the cluster, unless the cluster file names one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from khw.errors import UsageError

if TYPE_CHECKING:
    from khw.cluster.spec import Spec
    from khw.cluster.workspace import Workspace


NOT_MADE_YET = "ssh-ed25519 (khw makes it at the first run)"


def login_key(spec: Spec, workspace: Workspace, *, check: bool = False) -> Path:
    """Return the file of the private key; with `check` khw's own is not made if it is missing."""
    if spec.ssh.private_key:
        return Path(spec.ssh.private_key).expanduser()
    return workspace.ssh_key_file if check else workspace.ssh_key


def login_public_key(spec: Spec, workspace: Workspace, *, check: bool = False) -> str:
    """Return the public half, as new machines are told to let it in: one line, without a comment."""
    if not spec.ssh.private_key:
        missing = check and not workspace.ssh_key_file.exists()
        return NOT_MADE_YET if missing else workspace.ssh_public_key
    path = login_key(spec, workspace)
    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise UsageError(f"ssh.private_key {path} cannot be read: {error.strerror}") from None
    except TypeError:
        raise UsageError(
            f"ssh.private_key {path} has a passphrase, and khw asks for none",
            hint="leave ssh.private_key out: khw then makes a key of its own for the cluster",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(
            f"ssh.private_key {path} is not an OpenSSH private key", hint="`ssh-keygen -t ed25519` makes one"
        ) from None
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
