"""
A secret's text with what it embeds masked, so that the rest can be shown.

It is masked where it is read: the node masks what it has, the operator what it wants. Both with the same salt, new in
each process of the operator's: so that equal secrets are seen to be equal, and nothing else is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Optional

NEVER = "PRIVATE KEY-----"
MASK = re.compile(r"\(masked [0-9a-f]{16}\)")
# Values that are named as secret, and whatever is long and looks like base64, base64url or hex.
_NAMED = r"(?<=key-data:)\s*\S+|(?<=token:)\s*\S+|(?<=password:)\s*\S+|(?<=secret:)\s*\S+"
_LONG = r"(?<![A-Za-z0-9+/=_-])(?!certificate-authority-data:)[A-Za-z0-9+/=_-]{24,}"
_SECRET = re.compile(f"{_NAMED}|{_LONG}", re.IGNORECASE)


def masked(text: str, salt: str) -> str:
    """Return the text, each secret in it replaced by what tells it from others."""

    def mask(found: re.Match[str]) -> str:
        secret = found.group()
        told = hmac.new(salt.encode(), secret.strip().encode(), hashlib.sha256).hexdigest()[:16]
        return secret[: len(secret) - len(secret.lstrip())] + "(masked " + told + ")"

    return _SECRET.sub(mask, text)


def visible(text: Optional[str], salt: str) -> Optional[str]:  # noqa: UP045 - Python 3.9 runs it on the node
    """Return what may be seen of a file's text: nothing of a private key; with a salt, the rest masked."""
    if text is None or NEVER in text:
        return None
    return masked(text, salt) if salt else text
