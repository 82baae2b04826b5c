"""What a certificate says, as lines that a person reads and a diff compares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

if TYPE_CHECKING:
    from collections.abc import Iterator

START = b"-----BEGIN CERTIFICATE-----"

_PURPOSES = {ExtendedKeyUsageOID.SERVER_AUTH: "server", ExtendedKeyUsageOID.CLIENT_AUTH: "client"}
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


def is_certificate(data: bytes) -> bool:
    """Whether these bytes are a certificate, in PEM."""
    return data.startswith(START)


def describe(pem: bytes, *, issuer_key: bool = False) -> list[str]:
    """
    Return subject, issuer, validity, names, addresses and usages, a line each; never the PEM itself.

    With `issuer_key` also what tells the issuer's key, as two authorities may bear one name.
    """
    certificate = _parsed(pem)
    return ["not a certificate"] if certificate is None else list(_lines(certificate, issuer_key=issuer_key))


def same_key(one: bytes, other: bytes) -> bool:
    """Whether two certificates are of the same key."""
    first, second = _parsed(one), _parsed(other)
    if first is None or second is None:
        return first is second
    return first.public_key() == second.public_key()


def _parsed(pem: bytes) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        return None


def _lines(certificate: x509.Certificate, *, issuer_key: bool) -> Iterator[str]:
    yield f"subject: {certificate.subject.rfc4514_string()}"
    yield f"issuer: {certificate.issuer.rfc4514_string()}"
    if issuer_key and (identifier := _issuer_key(certificate)):
        yield f"issuer's key: {identifier}"
    yield f"valid from: {certificate.not_valid_before_utc:%Y-%m-%d}"
    yield f"valid until: {certificate.not_valid_after_utc:%Y-%m-%d}"
    for extension in certificate.extensions:
        match extension.value:
            case x509.SubjectAlternativeName() as names:
                yield from (f"name: {name}" for name in names.get_values_for_type(x509.DNSName))
                yield from (f"address: {address}" for address in names.get_values_for_type(x509.IPAddress))
            case x509.BasicConstraints() as constraints:
                yield f"authority: {'yes' if constraints.ca else 'no'}"
            case x509.KeyUsage() as usage:
                yield "key usage: " + ", ".join(name.replace("_", " ") for name in _USAGES if getattr(usage, name))
            case x509.ExtendedKeyUsage() as purposes:
                yield "used as: " + ", ".join(_PURPOSES.get(purpose, purpose.dotted_string) for purpose in purposes)
            case _:
                pass


def _issuer_key(certificate: x509.Certificate) -> str:
    """Return the first digits of the issuing key's identifier."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return ""
    return (value.key_identifier or b"").hex()[:16]
