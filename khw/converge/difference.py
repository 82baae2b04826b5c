"""
A difference as a person reads it: unified, with nothing in it that is secret.

Certificates are compared field by field, a secret's text with all that it embeds masked, kubectl's own diff without
the temporary files that it names.
"""

from __future__ import annotations

import re
import secrets
from difflib import unified_diff
from typing import TYPE_CHECKING

from khw.agent.masking import MASK, masked
from khw.certs import fields

if TYPE_CHECKING:
    from collections.abc import Sequence

SALT = secrets.token_hex(16)
"""Of this process: what a masked text says of a secret tells nobody else anything."""

_SERVERS = re.compile(r"^[+-] +(uid|creationTimestamp|generation|resourceVersion):")  # another at each try
_TEMPORARY = re.compile(r"^(---|\+\+\+) \S*/(?:LIVE|MERGED)-\d+/(\S+).*$")


def of_text(path: str, before: str | None, after: str) -> str:
    """Return the lines that differ; None before: there is none yet."""
    return _unified(path, None if before is None else before.splitlines(), after.splitlines())


def of_certificate(path: str, before: str | None, after: bytes) -> str:
    """Return the fields that differ."""
    if before is None:
        return _unified(path, None, fields.describe(after))
    found = fields.describe(before.encode(), issuer_key=True)
    wanted = fields.describe(after, issuer_key=True)
    if found == wanted and before.encode() != after:
        wanted = [*wanted, "another serial number or signature"]
    if not fields.same_key(before.encode(), after):
        wanted = [*wanted, "another key"]
    return _unified(path, found, wanted)


def of_masked(path: str, before: str | None, after: str) -> str:
    """Return the lines that differ of a secret's text: `before` is masked already, with SALT."""
    known = set(MASK.findall(before or ""))
    wanted = MASK.sub(
        lambda mask: "(masked)" if mask.group() in known or before is None else "(another, masked)", masked(after, SALT)
    )
    return of_text(path, None if before is None else MASK.sub("(masked)", before), wanted)


def of_objects(said: str) -> str:
    """Return what `kubectl diff` printed, less its temporary files' places and what the server makes up."""
    lines = [line for line in said.splitlines() if not line.startswith("diff ") and not _SERVERS.match(line)]
    return "\n".join(_TEMPORARY.sub(r"\1 \2", line) for line in lines)


def _unified(path: str, before: Sequence[str] | None, after: Sequence[str]) -> str:
    source = "(absent)" if before is None else f"{path} (as it is)"
    return "\n".join(unified_diff(before or (), after, source, f"{path} (wanted)", lineterm=""))
