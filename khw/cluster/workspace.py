"""Where a cluster's own files are: `.khw/<cluster>/` beside the cluster file, for its owner's eyes only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from khw.files import write_private


@dataclass(frozen=True, slots=True)
class Workspace:
    """The paths under `.khw/<cluster>/` (0700), and the SSH key that khw makes for the cluster."""

    root: Path

    @classmethod
    def beside(cls, cluster_file: Path, name: str) -> Workspace:
        """Return the workspace of the cluster `name` whose file this is; it is made when something is to be kept."""
        return cls(cluster_file.resolve().parent / ".khw" / name)

    def prepare(self) -> None:
        """Make the directory, closed to others, before anything is written to it."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)

    @property
    def pki(self) -> Path:
        """Authorities, certificates and keys (chapter 4)."""
        return self.root / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig (chapter 10)."""
        return self.root / "kubeconfig"

    @property
    def bin(self) -> Path:
        """The client tools (chapter 2)."""
        return self.root / "bin"

    @property
    def known_hosts(self) -> Path:
        """The nodes' SSH host keys, as their provider published them."""
        return self.root / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """The ways through bastions, for netmiko's connections (khw.inventory.plugin)."""
        return self.root / "ssh_config"

    @property
    def machines(self) -> Path:
        """Where the machines were at the last run: its successor's logins begin there (khw.ssh.early)."""
        return self.root / "machines.json"

    @property
    def runs(self) -> Path:
        """The journals, one file a run."""
        return self.root / "runs"

    @property
    def smoked(self) -> Path:
        """Says when the smoke test passed last; gone as soon as a run changes anything."""
        return self.root / "smoke-passed"

    @property
    def verified(self) -> Path:
        """What the last whole `khw verify` found, for the report."""
        return self.root / "verified.json"

    @property
    def benchmarked(self) -> Path:
        """What the last whole `khw verify --profile cis` found, for the report."""
        return self.root / "verified-cis.json"

    @property
    def bootstrap(self) -> Path:
        """Is there as long as etcd was never whole: only then may its members start a cluster of their own."""
        return self.root / "etcd-bootstrap"

    @property
    def issued(self) -> Path:
        """Is there since keys were first made: without it, an empty `pki` is a new cluster's; with it, a loss."""
        return self.root / "pki-issued"

    @property
    def lock(self) -> Path:
        """The lock that keeps two runs apart."""
        return self.root / "lock"

    @property
    def drill(self) -> Path:
        """Says which drill runs (khw.drills.state)."""
        return self.root / "drill.json"

    @property
    def drill_folder(self) -> Path:
        """What the way back from a drill needs: a snapshot of etcd, keys."""
        return self.root / "drill"

    @property
    def ssh_key(self) -> Path:
        """The cluster's own SSH key; made at first use."""
        if not self.ssh_key_file.exists():
            self.prepare()
            key = Ed25519PrivateKey.generate()
            write_private(self.ssh_key_file, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        return self.ssh_key_file

    @property
    def ssh_key_file(self) -> Path:
        """Where that key is, made or not."""
        return self.root / "ssh_key"

    @property
    def ssh_public_key(self) -> str:
        """The public half, as one authorized_keys line without a comment."""
        key = load_ssh_private_key(self.ssh_key.read_bytes(), password=None)
        return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
