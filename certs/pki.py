"""
A cluster's keys and certificates on the operator's disk: `.khw/<cluster>/pki/`, 0700, every file 0600.

    pki = load_or_issue(workspace.pki, cluster)
    pki.authority("etcd").certificate, pki.pair("admin").key, pki.encryption_key

What is there and right is kept. A certificate is issued again when what it says must change (subject, names,
addresses, usages, authority) or when it ends soon. What cannot be made again without breaking a running
cluster (an authority's key, the service accounts' key, the encryption key) is never made anew in silence: its
loss stops the run.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from khw.certs.authority import (
    Pair,
    alternative_names,
    authority_identifier,
    issue,
    make_authority,
    purposes,
    subject,
)
from khw.certs.identities import AUTHORITIES, identities
from khw.converge.changes import Action, Change
from khw.converge.difference import of_certificate
from khw.errors import PkiError
from khw.files import write_private
from khw.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from khw.certs.identities import Authority, Identity
    from khw.cluster.model import Cluster

Kind = TypeVar("Kind", bound=x509.ExtensionType)

CERTIFICATE_DAYS = 365
AUTHORITY_DAYS = 3650
RENEW_DAYS = 30
ENCRYPTION_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Pki:
    """All keys and certificates of a cluster, and what had to be made for it at the last load."""

    authorities: Mapping[str, Pair]
    pairs: Mapping[str, Pair]
    encryption_key: Secret
    changes: list[Change] = field(default_factory=list)

    def authority(self, name: str) -> Pair:
        """Return the authority 'kubernetes', 'etcd' or 'front-proxy'."""
        return self.authorities[name]

    def pair(self, name: str) -> Pair:
        """Return the pair of an identity, by its name in `khw.certs.identities`."""
        return self.pairs[name]


def load_or_issue(
    directory: Path,
    cluster: Cluster,
    *,
    days: int = CERTIFICATE_DAYS,
    renew_days: int = RENEW_DAYS,
    check: bool = False,
) -> Pki:
    """
    Return the cluster's keys and certificates; issue what is missing or no longer right.

    With `check` nothing is written: `changes` says what would be issued. PkiError names the file that is
    lost, changed or unreadable.
    """
    store = _Store(directory, check=check)
    wanted = identities(cluster)
    encryption_key = store.encryption_key()
    authorities = {
        authority.name: store.authority(
            authority,
            [identity.name for identity in wanted if identity.authority == authority.name],
            renew_days,
        )
        for authority in AUTHORITIES
    }
    pairs = {
        identity.name: store.pair(identity, authorities[identity.authority], days, renew_days) for identity in wanted
    }
    return Pki(authorities, pairs, encryption_key, store.changes)


class _Store:
    """The directory: which file holds what, and in which order they are written."""

    def __init__(self, directory: Path, *, check: bool) -> None:
        self.directory = directory
        self.check = check
        self.changes: list[Change] = []
        if not check:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)

    def encryption_key(self) -> Secret:
        """Return chapter 6's key. It is written before any certificate."""
        path = self.directory / "encryption-key"
        if path.exists():
            self._note("key:encryption", Action.UNCHANGED)
            self._close(path)
            return _decode(path)
        if any(self.directory.glob("*.pem")):
            raise self._lost(path, "Secrets that are stored in etcd cannot be read without it")
        key = secrets.token_bytes(ENCRYPTION_KEY_BYTES)
        self._write(path, b64encode(key) + b"\n")
        self._note("key:encryption", Action.CREATED)
        return Secret(key)

    def authority(self, authority: Authority, members: list[str], renew_days: int) -> Pair:
        """Return the authority; make it only where nothing was ever issued by it."""
        name = f"{authority.name}-ca"
        certificate, key = self._paths(name)
        if certificate.exists() and key.exists():
            self._close(key)
            pair = _read(certificate, key)
            _require_days(pair.x509, certificate, renew_days)
            self._note(f"authority:{authority.name}", Action.UNCHANGED)
            return pair
        issued = [path for member in members if (path := self._paths(member)[0]).exists()]
        if certificate.exists() or issued:
            lost = certificate if key.exists() else key
            witness = issued[0] if issued else certificate
            raise self._lost(lost, f"{witness} was issued by this authority")
        pair = make_authority(authority, days=AUTHORITY_DAYS)
        self._write_pair(name, pair)
        self._note(f"authority:{authority.name}", Action.CREATED, after=_end(pair.x509), diff=_fields(name, None, pair))
        return pair

    def pair(self, identity: Identity, authority: Pair, days: int, renew_days: int) -> Pair:
        """Return the identity's pair; issue it if it is missing, or not as it must be."""
        certificate, key = self._paths(identity.name)
        resource = f"certificate:{identity.name}"
        action, reason = Action.CREATED, ""
        old: Pair | None = None
        if identity.lasting and certificate.exists() and not key.exists():
            raise self._lost(key, "what it signed is believed no more without it")
        if certificate.exists() and key.exists():
            self._close(key)
            pair = _read(certificate, key)
            reason = _outdated(pair.x509, identity, authority.x509, certificate, renew_days)
            if not reason:
                self._note(resource, Action.UNCHANGED)
                return pair
            action, old = Action.UPDATED, pair
        kept = _private_key(key) if identity.lasting and key.exists() else None
        pair = issue(identity, authority, days=days, key=kept)
        self._write_pair(identity.name, pair)
        diff = _fields(identity.name, old, pair)
        self._note(resource, action, before=reason, after=_end(pair.x509), diff=diff)
        return pair

    def _lost(self, path: Path, why: str) -> PkiError:
        hint = f"restore it from a backup; or give the cluster up: khw destroy, then remove {self.directory}"
        return PkiError(f"{path} is lost: {why}", hint=hint)

    def _paths(self, name: str) -> tuple[Path, Path]:
        return self.directory / f"{name}.pem", self.directory / f"{name}-key.pem"

    def _write_pair(self, name: str, pair: Pair) -> None:
        """Write the key, then the certificate: at no moment is a certificate beside another one's key."""
        certificate, key = self._paths(name)
        if not self.check:
            certificate.unlink(missing_ok=True)
        self._write(key, pair.key.reveal())
        self._write(certificate, pair.certificate)

    def _close(self, path: Path) -> None:
        """Take away what others may do with a private file."""
        if not self.check and path.stat().st_mode & 0o077:
            path.chmod(0o600)

    def _write(self, path: Path, data: bytes) -> None:
        if not self.check:
            write_private(path, data)

    def _note(self, resource: str, action: Action, before: str = "", after: str = "", diff: str = "") -> None:
        self.changes.append(Change(resource=resource, action=action, before=before, after=after, diff=diff))


def _fields(name: str, old: Pair | None, new: Pair) -> str:
    return of_certificate(name, old.certificate.decode() if old else None, new.certificate)


def _decode(path: Path) -> Secret:
    try:
        key = b64decode(path.read_bytes().strip(), validate=True)
    except Base64Error:
        key = b""
    if len(key) != ENCRYPTION_KEY_BYTES:
        raise PkiError(
            f"{path} is not {ENCRYPTION_KEY_BYTES} bytes in base64: it was changed or cut off",
            hint="restore it from a backup",
        )
    return Secret(key)


def _read(certificate: Path, key: Path) -> Pair:
    """Return a pair from disk; PkiError names the file that is not what it must be."""
    pair = Pair(certificate.read_bytes(), Secret(key.read_bytes()))
    try:
        public = pair.x509.public_key()
    except ValueError as error:
        raise PkiError(f"{certificate} is not a certificate: {error}", hint=_restore(certificate)) from error
    if _private_key(key).public_key() != public:
        raise PkiError(f"{key} is not the key of {certificate}", hint=_restore(key))
    return pair


def _private_key(path: Path) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):  # its message may hold what was read
        key = None
    if not isinstance(key, EllipticCurvePrivateKey):
        raise PkiError(f"{path} is not an unencrypted elliptic curve key", hint=_restore(path))
    return key


def _restore(path: Path) -> str:
    stem = path.name.removesuffix(".pem").removesuffix("-key")
    if stem.endswith("-ca"):
        return "restore it from a backup"
    return f"restore it from a backup, or remove {stem}.pem and {stem}-key.pem there: they are then issued again"


def _outdated(
    certificate: x509.Certificate, identity: Identity, issuer: x509.Certificate, path: Path, renew_days: int
) -> str:
    """Return why the certificate must be issued again, or ''."""
    if certificate.subject != subject(identity.common_name, identity.organization):
        return "another subject"
    # More names are no reason: a stopped machine has no external address, and its absence restarts no API server.
    if set(alternative_names(identity)) - set(_extension(certificate, x509.SubjectAlternativeName)):
        return "other names"
    if set(_extension(certificate, x509.ExtendedKeyUsage)) != set(purposes(identity)):
        return "other usages"
    if list(_extension(certificate, x509.AuthorityKeyIdentifier)) != [authority_identifier(issuer)]:
        return "another authority"
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError) as error:
        message = f"{path} was changed: its authority's signature does not fit"
        raise PkiError(message, hint=_restore(path)) from error
    if _left(certificate) < timedelta(days=renew_days):
        return _end(certificate)
    return ""


def _extension(certificate: x509.Certificate, kind: type[Kind]) -> Iterable[object]:
    """Return what the extension lists, or itself, or nothing."""
    try:
        value = certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return ()
    return value if isinstance(value, Iterable) else (value,)


def _require_days(certificate: x509.Certificate, path: Path, renew_days: int) -> None:
    if _left(certificate) < timedelta(days=renew_days):
        raise PkiError(
            f"{path} {_end(certificate)}, and everything that it issued with it",
            hint="an authority is replaced by making the cluster anew: khw destroy, then khw run",
        )


def _left(certificate: x509.Certificate) -> timedelta:
    return certificate.not_valid_after_utc - datetime.now(UTC)


def _end(certificate: x509.Certificate) -> str:
    return f"ends {certificate.not_valid_after_utc:%Y-%m-%d}"
