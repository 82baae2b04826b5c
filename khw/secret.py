"""A value that no log, diff, report or traceback can show."""

from __future__ import annotations

import hmac


class Secret:
    """
    Bytes that never show: `repr`, `str` and formatting give '<secret>'.

    `reveal()` is the one way in; a reader can grep for it and see every place that uses a secret.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes | str) -> None:
        self._value = value.encode() if isinstance(value, str) else value

    def reveal(self) -> bytes:
        """Return the bytes; only for what writes them where they belong."""
        return self._value

    def __repr__(self) -> str:
        return "<secret>"

    def __format__(self, format_spec: str) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[object, ...]:
        msg = "a Secret is not pickled"
        raise TypeError(msg)
