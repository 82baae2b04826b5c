"""Lists: filter, order, one page of it, and the token of the next."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from khw.lab.api.filters import compile_filter
from khw.lab.api.problems import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Json = dict[str, Any]
    Row = tuple[str, Json]  # the scope's path, and the resource

LARGEST_PAGE = 500
NEWEST_FIRST = "creationTimestamp desc"


def page(rows: Sequence[Row], query: Mapping[str, str]) -> tuple[list[Row], str]:
    """
    Return the page that a list request asks for, and the token of the next page ("" at the end).

    The token names the last row that was sent, so that inserts and deletes between two pages lose no row.
    """
    order = query.get("orderBy", "")
    if order not in {"", "name", NEWEST_FIRST}:
        raise invalid("orderBy", order, f"Only 'name' and '{NEWEST_FIRST}' are supported.")
    newest = order == NEWEST_FIRST
    wanted = compile_filter(query.get("filter", ""))
    chosen = sorted(
        ((_key(row, newest=newest), row) for row in rows if wanted(row[1])),
        key=lambda pair: pair[0],
        reverse=newest,
    )
    sent = _read_token(query.get("pageToken", ""))
    if sent:
        chosen = [(key, row) for key, row in chosen if (key < sent if newest else key > sent)]
    size = _size(query.get("maxResults", ""))
    token = _write_token(chosen[size - 1][0]) if len(chosen) > size else ""
    return [row for _, row in chosen[:size]], token


def _key(row: Row, *, newest: bool) -> list[str]:
    scope, item = row
    return [str(item.get("creationTimestamp", "")) if newest else "", scope, str(item["name"])]


def _size(text: str) -> int:
    try:
        size = int(text or LARGEST_PAGE)
    except ValueError as error:
        raise invalid("maxResults", text, "It is not a number.") from error
    if not 0 <= size <= LARGEST_PAGE:
        raise invalid("maxResults", text, f"Must be between 0 and {LARGEST_PAGE}, inclusive.")
    return size or LARGEST_PAGE


def _write_token(key: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _read_token(token: str) -> list[str]:
    if not token:
        return []
    try:
        key = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, binascii.Error) as error:
        raise invalid("pageToken", token, "Invalid page token.") from error
    if not isinstance(key, list) or not all(isinstance(part, str) for part in key):
        raise invalid("pageToken", token, "Invalid page token.")
    return key
