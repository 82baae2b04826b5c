from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from khw.cluster.spec import Spec, Ssh
from khw.cluster.workspace import Workspace
from khw.errors import UsageError
from khw.inventory.keys import NOT_MADE_YET, login_key, login_public_key

if TYPE_CHECKING:
    from pathlib import Path


def test_the_key_is_the_clusters_own_unless_one_is_named(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert login_key(Spec(), workspace) == tmp_path / "ssh_key"
    assert login_public_key(Spec(), workspace) == workspace.ssh_public_key
    assert login_public_key(Spec(), workspace).startswith("ssh-ed25519 ")


def test_a_named_key_gives_its_own_public_half(tmp_path: Path) -> None:
    other = Workspace(tmp_path / "other")
    other.root.mkdir()
    spec = Spec(ssh=Ssh(private_key=str(other.ssh_key)))
    assert login_public_key(spec, Workspace(tmp_path)) == other.ssh_public_key
    assert not (tmp_path / "ssh_key").exists()


def test_a_key_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    key = tmp_path / "mine"
    spec = Spec(ssh=Ssh(private_key=str(key)))
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        login_public_key(spec, workspace)
    key.write_text("ssh-ed25519 AAAA")
    with pytest.raises(UsageError, match="is not an OpenSSH private key"):
        login_public_key(spec, workspace)
    private = Ed25519PrivateKey.generate()
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    assert login_public_key(spec, workspace).startswith("ssh-ed25519 ")


def test_a_key_with_a_passphrase_is_refused_with_a_way_out(tmp_path: Path) -> None:
    key = tmp_path / "mine"
    private = Ed25519PrivateKey.generate()
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(b"secret")))
    with pytest.raises(UsageError, match="has a passphrase") as caught:
        login_public_key(Spec(ssh=Ssh(private_key=str(key))), Workspace(tmp_path))
    assert "khw then makes a key of its own" in caught.value.hint


def test_a_plan_makes_no_key(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "new")
    assert login_key(Spec(), workspace, check=True) == tmp_path / "new/ssh_key"
    assert login_public_key(Spec(), workspace, check=True) == NOT_MADE_YET
    assert not (tmp_path / "new").exists()
    made = workspace.ssh_public_key
    assert login_public_key(Spec(), workspace, check=True) == made


def test_the_folder_of_the_key_is_closed_to_others(tmp_path: Path) -> None:
    key = Workspace(tmp_path / "new").ssh_key
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
