"""Chapter 4 by hand: authorities and certificates made with openssl, saying what khw's own say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.certs.identities import AUTHORITIES, Usage, identities
from khw.certs.pki import AUTHORITY_DAYS, CERTIFICATE_DAYS
from khw.explain.shell import heredoc, quoted

if TYPE_CHECKING:
    from khw.certs.identities import Authority, Identity
    from khw.cluster.model import Cluster

_PURPOSES = {Usage.SERVER: "serverAuth", Usage.CLIENT: "clientAuth"}

FUNCTIONS = f"""\
umask 077
mkdir -p "$KHW_HOME/pki"
cd "$KHW_HOME/pki"

key() {{  # NAME: an ECDSA P-256 key of its own for everyone
  [ -f "$1-key.pem" ] || openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1-key.pem"
}}

authority() {{  # NAME, with its configuration on standard input: an authority signs itself
  cat >"$1.cnf"
  key "$1"
  [ -f "$1.pem" ] || openssl req -x509 -new -sha256 -days {AUTHORITY_DAYS} \\
    -key "$1-key.pem" -config "$1.cnf" -extensions ext -out "$1.pem"
}}

issue() {{  # NAME AUTHORITY, with the configuration on standard input: key, request, signature
  cat >"$1.cnf"
  key "$1"
  [ -f "$1.pem" ] || {{
    openssl req -new -sha256 -key "$1-key.pem" -config "$1.cnf" -out "$1.csr"
    openssl x509 -req -sha256 -days {CERTIFICATE_DAYS} -in "$1.csr" -CA "$2-ca.pem" -CAkey "$2-ca-key.pem" \\
      -CAcreateserial -extfile "$1.cnf" -extensions ext -out "$1.pem" 2>/dev/null
  }}
}}"""


def everything(cluster: Cluster) -> str:
    """Return the script that makes all of chapter 4's keys and certificates."""
    return "\n\n".join(
        (
            FUNCTIONS,
            *(of_authority(authority) for authority in AUTHORITIES),
            *(of_identity(identity) for identity in identities(cluster)),
            "rm -f ./*.cnf ./*.csr ./*.srl",
        )
    )


def of_authority(authority: Authority) -> str:
    """Return the lines that make one authority."""
    rows = (
        *_subject(authority.common_name, authority.organization),
        "[ext]",
        "basicConstraints = critical, CA:TRUE, pathlen:0",
        "keyUsage = critical, keyCertSign, cRLSign",
        "subjectKeyIdentifier = hash",
    )
    return f"authority {quoted(f'{authority.name}-ca')} {heredoc(_text(rows))}"


def of_identity(identity: Identity) -> str:
    """Return the lines that make one certificate: the request's subject, its names, what it may be used for."""
    usages = [_PURPOSES[usage] for usage in identity.usages]
    names = [f"DNS:{name}" for name in identity.names] + [f"IP:{address}" for address in identity.addresses]
    rows = (
        *_subject(identity.common_name, identity.organization),
        "[ext]",
        "basicConstraints = critical, CA:FALSE",
        "keyUsage = critical, digitalSignature",
        "subjectKeyIdentifier = hash",
        "authorityKeyIdentifier = keyid",
        *([f"extendedKeyUsage = {', '.join(usages)}"] if usages else []),
        *([f"subjectAltName = {', '.join(names)}"] if names else []),
    )
    return f"issue {quoted(identity.name)} {quoted(identity.authority)} {heredoc(_text(rows))}"


def _subject(common_name: str, organization: str) -> tuple[str, ...]:
    return (
        "[req]",
        "prompt = no",
        "distinguished_name = subject",
        "[subject]",
        f"O = {organization}",
        f"CN = {common_name}",
    )


def _text(rows: tuple[str, ...]) -> str:
    return "\n".join(rows) + "\n"
