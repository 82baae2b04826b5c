"""
Keys and certificates by name only: what scripts are rendered with, so that they hold no secret of khw's.

Tasks embed what they are given; given a mark in place of a key, they embed the mark, and `khw.explain.shell` puts the
shell's words for reading that file there.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING

from khw.certs.authority import Pair
from khw.certs.identities import AUTHORITIES, identities
from khw.certs.pki import ENCRYPTION_KEY_BYTES, Pki
from khw.secret import Secret

if TYPE_CHECKING:
    from khw.cluster.model import Cluster
    from khw.converge.resources import Content

MARK = b"khw-pki/"
ENCRYPTION_KEY = "encryption-key"
SSH_KEY = "khw-ssh-public-key"
_LONG = re.compile(r"[A-Za-z0-9+/]{12,}={0,2}")


def pki(cluster: Cluster) -> Pki:
    """Return a Pki of marks; the files that they name lie in the operator's pki directory, as khw's own do."""
    return Pki(
        authorities={authority.name: _pair(f"{authority.name}-ca") for authority in AUTHORITIES},
        pairs={identity.name: _pair(identity.name) for identity in identities(cluster)},
        encryption_key=Secret((MARK + ENCRYPTION_KEY.encode()).ljust(ENCRYPTION_KEY_BYTES, b".")),
    )


def _pair(name: str) -> Pair:
    return Pair(MARK + f"{name}.pem".encode(), Secret(MARK + f"{name}-key.pem".encode()))


def file_of(content: Content) -> str:
    """Return the name of the file that this content is, or ''."""
    data = _bytes(content)
    return data.removeprefix(MARK).decode() if data.startswith(MARK) and b"\n" not in data else ""


def embedded(text: str) -> dict[str, str]:
    """Return what in a text stands for a file's content in base64, and that file's name."""
    found = {}
    for token in dict.fromkeys(_LONG.findall(text)):
        try:
            data = b64decode(token, validate=True)
        except (Base64Error, ValueError):
            continue
        if data.startswith(MARK):
            found[token] = data.removeprefix(MARK).decode().rstrip(".")
    return found


def text_of(content: Content) -> str:
    """Return a content of marks as text."""
    return _bytes(content).decode()


def _bytes(content: Content) -> bytes:
    if isinstance(content, Secret):
        return content.reveal()
    return content.encode() if isinstance(content, str) else content
