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
_NAMED = re.compile(r"((?:key-data|token|password|secret)[\"']?[ \t]*[:=][ \t]*)(\S+)", re.IGNORECASE)
_LONG = re.compile(r"(?<![A-Za-z0-9+/=_-])(?!certificate-authority-data:)()([A-Za-z0-9+/=_-]{24,})")


def masked(text: str, salt: str) -> str:
    """Return the text, each secret in it replaced by what tells it from others."""

    def mask(found: re.Match[str]) -> str:
        told = hmac.new(salt.encode(), found.group(2).encode(), hashlib.sha256).hexdigest()[:16]
        return f"{found.group(1)}(masked {told})"

    return _LONG.sub(mask, _NAMED.sub(mask, text))


def visible(text: Optional[str], salt: str) -> Optional[str]:  # noqa: UP045 - Python 3.9 runs it on the node
    """Return what may be seen of a file's text: nothing of a private key; with a salt, the rest masked."""
    if text is None or NEVER in text:
        return None
    return masked(text, salt) if salt else text
