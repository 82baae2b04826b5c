"""The looks that many recommendations share. Each returns a look: a function of what was seen on a node."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from typing import TYPE_CHECKING, TypeAlias

from khw.verify.cis.control import Judged, met, met_if, not_applicable, unmet

if TYPE_CHECKING:
    from khw.verify.cis.seen import Seen

Look: TypeAlias = "Callable[[Seen], Judged]"

STRONG = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
)
"""Cipher suites with forward secrecy and authenticated encryption (RFC 9325, section 4.2; TLS 1.3's own)."""


def given(unit: str, *names: str) -> Look:
    """Each of these flags is given."""

    def look(seen: Seen) -> Judged:
        missing = [f"--{name}" for name in names if not seen.flag(unit, name)]
        if missing:
            return unmet(f"{', '.join(missing)} is not given")
        return met(", ".join(f"--{name}={seen.flag(unit, name)}" for name in names))

    return look


def is_value(unit: str, name: str, wanted: str, *, default: str | None = None) -> Look:
    """A flag has this value; `default` is what it has when it is not given."""

    def look(seen: Seen) -> Judged:
        value = seen.flag(unit, name)
        if value is None:
            return met_if(default == wanted, f"--{name} is {default}, the default" if default else _absent(name))
        return met_if(value == wanted, f"--{name}={value}")

    return look


def at_least(unit: str, name: str, least: int) -> Look:
    """A flag has a number of at least this."""

    def look(seen: Seen) -> Judged:
        value = seen.flag(unit, name)
        return met_if(int(value) >= least, f"--{name}={value}") if value else unmet(_absent(name))

    return look


def absent(unit: str, name: str) -> Look:
    """A flag is not given."""

    def look(seen: Seen) -> Judged:
        value = seen.flag(unit, name)
        return met(_absent(name)) if value is None else unmet(f"--{name}={value}")

    return look


def among(unit: str, name: str, wanted: str) -> Look:
    """A flag's list has this in it."""

    def look(seen: Seen) -> Judged:
        value = seen.flag(unit, name) or ""
        return met_if(wanted in value.split(","), f"--{name}={value}" if value else _absent(name))

    return look


def not_among(unit: str, name: str, unwanted: str) -> Look:
    """A flag's list does not have this in it, or is not given."""

    def look(seen: Seen) -> Judged:
        value = seen.flag(unit, name)
        return met_if(unwanted not in (value or "").split(","), f"--{name}={value}" if value else _absent(name))

    return look


def strong(suites: Iterable[str]) -> Judged:
    """Judge a list of cipher suites."""
    given = list(suites)
    weak = [suite for suite in given if suite not in STRONG]
    if not given:
        return unmet("no list: Go's own choice")
    return unmet(f"weak: {', '.join(weak)}") if weak else met(f"{len(given)} suites, all with forward secrecy and AEAD")


def mode(path: str, most: int, *, besides: str = "") -> Look:
    """Every file that matches has this mode or a stricter one; a trailing slash would be no file of ours."""

    def look(seen: Seen) -> Judged:
        found = _matching(seen, path, besides)
        wide = {name: bits for name, (bits, _) in found.items() if bits & ~most}
        if not found:
            return not_applicable(f"there is no {path}")
        if wide:
            return unmet(", ".join(f"{name} is {bits:04o}" for name, bits in wide.items()))
        return met(_told(path, found, ", ".join(sorted({f"{bits:04o}" for bits, _ in found.values()}))))

    return look


def owner(path: str, wanted: str = "root:root", *, besides: str = "") -> Look:
    """Every file that matches belongs to this user and group."""

    def look(seen: Seen) -> Judged:
        found = _matching(seen, path, besides)
        others = {name: who for name, (_, who) in found.items() if who != wanted}
        if not found:
            return not_applicable(f"there is no {path}")
        if others:
            return unmet(", ".join(f"{name} is {who}" for name, who in others.items()))
        return met(_told(path, found, wanted))

    return look


def in_place_of(what: str, look: Look) -> Look:
    """Say that another file stands here for the one that the benchmark is about."""

    def judged(seen: Seen) -> Judged:
        found = look(seen)
        return Judged(found.ok, f"{what}: {found.seen}", found.manual)

    return judged


def both(*looks: Look) -> Look:
    """All of these."""

    def look(seen: Seen) -> Judged:
        found = [one(seen) for one in looks]
        if off := [one for one in found if one.ok is False]:
            return unmet("; ".join(one.seen for one in off))
        applying = [one for one in found if one.ok]
        return met("; ".join(one.seen for one in applying)) if applying else found[0]

    return look


def field(path: str, name: str, ok: Callable[[object], bool], *, default: object = None) -> Look:
    """
    A field of a configuration file, dots between its names, has a value that is right.

    `default` is what the component takes when it is not there, by the version's own reference.
    """

    def look(seen: Seen) -> Judged:
        if path not in seen.texts:
            return unmet(f"there is no {path}")
        value: object = seen.document(path)
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            return met_if(ok(default), f"{name} is {_written(default)}, the default")
        return met_if(ok(value), f"{name}: {_written(value)}")

    return look


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _matching(seen: Seen, path: str, besides: str) -> dict[str, tuple[int, str]]:
    return {
        name: found
        for name, found in seen.modes.items()
        if fnmatch(name, path) and not (besides and fnmatch(name, besides))
    }


def _told(path: str, found: dict[str, tuple[int, str]], what: str) -> str:
    return f"{path} is {what}" if "*" not in path else f"{path}: {len(found)} files, {what}"


def _absent(name: str) -> str:
    return f"--{name} is not given"
