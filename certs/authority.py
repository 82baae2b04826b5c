"""
An authority and the certificates that it issues (chapter 4): ECDSA P-256, X.509 v3.

Pure: nothing here reads or writes a file. Lengths of validity are docs/decisions/0015.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from khw.certs.identities import Usage
from khw.secret import Secret

if TYPE_CHECKING:
    from khw.certs.identities import Authority, Identity

BACKDATED = timedelta(hours=1)
"""How far before now a certificate starts, for nodes whose clocks are a little behind."""

_PURPOSES = {Usage.SERVER: ExtendedKeyUsageOID.SERVER_AUTH, Usage.CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both as PEM."""

    certificate: bytes
    key: Secret

    @property
    def x509(self) -> x509.Certificate:
        """The certificate, parsed."""
        return x509.load_pem_x509_certificate(self.certificate)

    @property
    def private_key(self) -> EllipticCurvePrivateKey:
        """The key, parsed; TypeError if it is not an elliptic curve's."""
        key = load_pem_private_key(self.key.reveal(), password=None)
        if not isinstance(key, EllipticCurvePrivateKey):
            msg = f"an elliptic curve key was expected, not {type(key).__name__}"
            raise TypeError(msg)
        return key


def make_authority(authority: Authority, *, days: int) -> Pair:
    """Return a new authority that signs itself, and end certificates only (path length 0)."""
    key = generate_private_key(SECP256R1())
    name = subject(authority.common_name, authority.organization)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _dated(days)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def issue(
    identity: Identity,
    authority: Pair,
    *,
    days: int,
    key: EllipticCurvePrivateKey | None = None,
    at: datetime | None = None,
) -> Pair:
    """Return a certificate for `key` (or a new one), issued `at` (or now); it ends no later than the authority does."""
    key = key or generate_private_key(SECP256R1())
    issuer = authority.x509
    builder = (
        _dated(days, at, no_later_than=issuer.not_valid_after_utc)
        .subject_name(subject(identity.common_name, identity.organization))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority_identifier(issuer), critical=False)
    )
    if identity.usages:
        builder = builder.add_extension(purposes(identity), critical=False)
    if identity.names or identity.addresses:
        builder = builder.add_extension(alternative_names(identity), critical=False)
    return _pair(builder.sign(authority.private_key, hashes.SHA256()), key)


def subject(common_name: str, organization: str) -> x509.Name:
    """Return the subject: to Kubernetes the CN is the user and the O is the group."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def purposes(identity: Identity) -> x509.ExtendedKeyUsage:
    """Return what the certificate may be used for: as server, as client, or both."""
    return x509.ExtendedKeyUsage([_PURPOSES[usage] for usage in identity.usages])


def alternative_names(identity: Identity) -> x509.SubjectAlternativeName:
    """Return the names and addresses that a client may know it by."""
    return x509.SubjectAlternativeName(
        [
            *(x509.DNSName(name) for name in identity.names),
            *(x509.IPAddress(ip_address(address)) for address in identity.addresses),
        ]
    )


def authority_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return what says which authority's key has signed, as two authorities may bear one name."""
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _dated(days: int, at: datetime | None = None, no_later_than: datetime | None = None) -> x509.CertificateBuilder:
    now = at or datetime.now(UTC)
    end = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(min(end, no_later_than) if no_later_than else end)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,  # RSA's; an ECDSA key only signs
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: EllipticCurvePrivateKey) -> Pair:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(certificate.public_bytes(Encoding.PEM), Secret(private))
