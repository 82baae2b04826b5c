"""A cluster's certificates as they lie on the operator's disk: whose, until when, by whom. No key is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_USAGES = {ExtendedKeyUsageOID.SERVER_AUTH: "server", ExtendedKeyUsageOID.CLIENT_AUTH: "client"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A certificate; `name` is its identity's (or 'etcd-ca', an authority's)."""

    name: str
    user: str  # CN
    group: str  # O
    issuer: str
    usages: tuple[str, ...]
    names: tuple[str, ...]
    ends: datetime
    authority: bool = False

    def days(self, now: datetime) -> int:
        """Return the whole days that are left; below nought if it has ended."""
        return (self.ends - now).days


def held(directory: Path) -> list[Held]:
    """Return what is there, authorities first; what is no certificate is left out."""
    found = []
    for path in sorted(directory.glob("*.pem")):
        if path.stem.endswith("-key"):
            continue
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
        except (OSError, ValueError):
            continue
        found.append(_held(path.stem, certificate))
    return sorted(found, key=lambda row: (not row.authority, row.name))


def _held(name: str, certificate: x509.Certificate) -> Held:
    return Held(
        name=name,
        user=_attribute(certificate.subject, NameOID.COMMON_NAME),
        group=_attribute(certificate.subject, NameOID.ORGANIZATION_NAME),
        issuer=_attribute(certificate.issuer, NameOID.COMMON_NAME),
        usages=tuple(_usages(certificate)),
        names=tuple(_names(certificate)),
        ends=certificate.not_valid_after_utc,
        authority=certificate.subject == certificate.issuer,
    )


def _attribute(name: x509.Name, which: x509.ObjectIdentifier) -> str:
    return ", ".join(str(row.value) for row in name.get_attributes_for_oid(which))


def _usages(certificate: x509.Certificate) -> list[str]:
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return []
    return [_USAGES.get(purpose, purpose.dotted_string) for purpose in purposes]


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]
