"""
Google's own description of the requests that the lab serves, and requests held against it.

`description.json` is the part of the discovery document (google-api-python-client) that is needed here; a test holds
it against the document, and `python tests/discovery.py` writes it. What a client sends wrongly is refused as Google
refuses it: what is no JSON of the API (an unknown name, a value of another type) by the front end that all of Google's
APIs have, a value that is none of an enum's by Compute Engine.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from khw.lab.api.problems import MalformedError, invalid, required

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Json = dict[str, Any]

_WHOLE = {"int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1), "integer": (-(2**31), 2**31 - 1)}
_LONG = {"int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1)}
_TYPES = {"integer": "int32", "boolean": "bool", "number": "double", "byte": "bytes"}


@cache
def description() -> Json:
    """Return the description: methods with what they take, and the schemas in short."""
    found: Json = json.loads(files(__package__).joinpath("description.json").read_text())
    return found


def understood_request(method: str, body: Json, query: Iterable[str]) -> Json:
    """
    Return a method's body with every value of the type that the description says: "1460" is 1460.

    ApiError 400 names the first thing that is none of Google's, or is missing.
    """
    row = description()["methods"].get(method)
    if row is None:
        return body
    for name in query:
        if name not in row["query"] and name not in description()["common"]:
            raise MalformedError(
                f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. '
                f"Field '{name}' could not be found in request message.",
                name,
            )
    resource = method.endswith((".insert", ".patch", ".update"))
    if resource and not body:
        raise required("resource")
    where = "resource" if resource else ""
    read: Json = _fields(body, description()["schemas"][row["body"]], where)
    for name in row["required"]:
        if read.get(name) in (None, ""):
            raise required(f"resource.{name}")
    return read


def _value(value: Any, schema: Any, where: str) -> Any:
    """Return a value as its schema has it."""
    if isinstance(schema, str) and schema.startswith("$"):
        schema = description()["schemas"][schema[1:]]
    if isinstance(schema, list):
        if not isinstance(value, list):
            raise _wrong(where, "list", value)
        return [_value(member, schema[0], f"{where}[{index}]") for index, member in enumerate(value)]
    if isinstance(schema, dict) and "=" in schema:
        return _one_of(value, schema["="], where)
    if isinstance(schema, dict):
        return _fields(value, schema, where)
    return value if schema == "any" else _scalar(value, schema, where)


def _fields(value: Any, schema: Json, where: str) -> Json:
    if not isinstance(value, dict):
        raise _wrong(where, "object", value)
    read = {}
    for name, part in value.items():
        member = schema.get("*", schema.get(name))
        if member is None:
            at = f" at '{where}'" if where else ""
            raise MalformedError(f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.', where)
        read[name] = _value(part, member, f"{where}.{name}" if where else name)
    return read


def _one_of(value: Any, choice: list[str], where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, "enum", value)
    if value and value not in choice:
        raise invalid(where, value, f"Must be one of: {', '.join(choice)}.")
    return value


def _scalar(value: Any, kind: str, where: str) -> Any:
    if kind in {"string", "byte"} and isinstance(value, str):
        return value
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "number" and not isinstance(value, bool) and (number := _read(float, value)) is not None:
        return number
    if (bounds := {**_WHOLE, **_LONG}.get(kind)) and not isinstance(value, bool | float):
        number = _read(int, value)
        if number is not None and bounds[0] <= number <= bounds[1]:
            return str(number) if kind in _LONG else number  # what JSON's numbers cannot hold is a text
    raise _wrong(where, _TYPES.get(kind, kind), value)


def _read(kind: Callable[[Any], Any], value: Any) -> Any:
    try:
        return kind(value)
    except (TypeError, ValueError):
        return None


def _wrong(where: str, kind: str, value: Any) -> MalformedError:
    shown = json.dumps(value) if isinstance(value, str | int | float | bool) else type(value).__name__
    return MalformedError(f"Invalid value at '{where}' (TYPE_{kind.upper()}), {shown}", where)
