"""
Google's own description of the Compute Engine API, as a judge of requests and answers.

It ships inside google-api-python-client. Each schema becomes a JSON schema in which what Google does not know is
an error, and each method a path with its parameters, its request and its answer.

`python tests/discovery.py` writes the part of it that the lab's API checks requests with at run time
(khw/lab/api/description.json).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import googleapiclient
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]

_SIGNED = {"type": "string", "pattern": r"^-?\d+$"}
_FORMATS: dict[str, Json] = {
    "int64": _SIGNED,
    "uint64": {"type": "string", "pattern": r"^\d+$"},
    "byte": {"type": "string", "pattern": r"^[A-Za-z0-9+/_=-]*$"},
}
_ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "errors"],
            "properties": {
                "code": {"type": "integer"},
                "message": {"type": "string", "minLength": 1},
                "errors": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "object", "required": ["message", "domain", "reason"]},
                },
            },
        }
    },
}


@dataclass(frozen=True)
class Method:
    """A method of the API."""

    id: str
    verb: str
    path: re.Pattern[str]
    parameters: frozenset[str]
    request: str
    response: str


@dataclass(frozen=True)
class Exchange:
    """A request and its answer."""

    verb: str
    path: str
    query: set[str]
    body: bytes
    status: int
    answer: bytes


@cache
def document() -> Json:
    """Return the description."""
    folder = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    found: Json = json.loads((folder / "compute.v1.json").read_text())
    return found


@cache
def methods() -> tuple[Method, ...]:
    """Return every method that the API has."""
    common = frozenset(document()["parameters"])
    return tuple(
        Method(
            method["id"],
            method["httpMethod"],
            re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape("/compute/v1/" + method["path"]))),
            common | {n for n, p in method.get("parameters", {}).items() if p["location"] == "query"},
            method.get("request", {}).get("$ref", ""),
            method.get("response", {}).get("$ref", ""),
        )
        for resource in document()["resources"].values()
        for method in resource["methods"].values()
    )


@cache
def _schemas() -> Json:
    return {name: _convert(schema) for name, schema in document()["schemas"].items()}


def _convert(schema: Json) -> Json:
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref']}"}
    kind = schema.get("type", "any")
    if kind == "any":
        return {}
    if kind == "array":
        return {"type": "array", "items": _convert(schema["items"])}
    if kind == "object":
        extra = schema.get("additionalProperties")
        return {
            "type": "object",
            "properties": {name: _convert(part) for name, part in schema.get("properties", {}).items()},
            "additionalProperties": _convert(extra) if extra else False,
        }
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    plain: Json = {"type": kind}
    if "enum" in schema:
        plain["enum"] = schema["enum"]
    return plain


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": _schemas()})


def problems(schema: str, value: object) -> list[str]:
    """Return where `value` is not what Google's schema of this name says."""
    return [f"{schema}{error.json_path[1:]}: {error.message}" for error in _validator(schema).iter_errors(value)]


def error_problems(value: object) -> list[str]:
    """Return where a refusal is not of Google's shape."""
    return [error.message for error in Draft202012Validator(_ERROR).iter_errors(value)]


def method_of(verb: str, path: str) -> Method | None:
    """Return the method that a request calls; the more literal path wins."""
    found = [m for m in methods() if m.verb == verb and m.path.fullmatch(path)]
    return min(found, key=lambda m: m.path.pattern.count("[^/]+"), default=None)


def _without_nulls(value: Any) -> Any:
    """Leave out what is null: in a request it is as good as not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value


def judge(exchange: Exchange) -> list[str]:
    """Return everything about one exchange that Google's description does not allow."""
    method = method_of(exchange.verb, exchange.path)
    if method is None:
        return [f"{exchange.verb} {exchange.path}: the API has no such method"]
    found = [f"the parameter {name} is unknown" for name in exchange.query - method.parameters]
    if method.request:
        found += problems(method.request, _without_nulls(json.loads(exchange.body or b"{}")))
    elif exchange.body not in {b"", b'""'}:  # an empty text is what some clients send for nothing
        found.append("there is a body")
    if exchange.status >= 400:
        found += error_problems(json.loads(exchange.answer))
    elif method.response:
        found += problems(method.response, json.loads(exchange.answer))
    elif exchange.answer.strip() not in {b"", b"{}"}:
        found.append("there is an answer's body")
    return [f"{method.id}: {problem}" for problem in found]


# The part of it that the lab's API has at run time


def extract(ids: Iterable[str]) -> Json:
    """Return what these methods take: their query, the schema of their body, and the schemas, in short."""
    rows = {method.id.removeprefix("compute."): method for method in methods()}
    chosen = {name: rows[name] for name in sorted(ids)}
    schemas: Json = {}
    todo = [method.request for method in chosen.values() if method.request]
    while todo:
        name = todo.pop()
        if name not in schemas:
            schemas[name] = _short(document()["schemas"][name])
            todo += re.findall(r'"\$([^"]+)"', json.dumps(schemas[name]))
    return {
        "revision": document()["revision"],
        "common": sorted(document()["parameters"]),
        "methods": {
            name: {
                **({"body": method.request} if method.request else {}),
                "query": sorted(method.parameters - set(document()["parameters"])),
                "required": _required(method),
            }
            for name, method in chosen.items()
        },
        "schemas": {name: schemas[name] for name in sorted(schemas)},
    }


def _required(method: Method) -> list[str]:
    """Return what has to be given: not what a patch leaves as it is, and not what has a default all the same."""
    rows = document()["schemas"][method.request]["properties"] if method.id.endswith(".insert") else {}
    return sorted(
        name
        for name, part in rows.items()
        if method.id in part.get("annotations", {}).get("required", ())
        and "default value is" not in part["description"]
    )


def _short(schema: Json) -> Any:
    """Return a schema in short: 'string', '$Reference', [member], {'*': member of a map}, {'=': values of an enum}."""
    if "$ref" in schema:
        return f"${schema['$ref']}"
    kind = schema.get("type", "any")
    if kind == "array":
        return [_short(schema["items"])]
    if kind == "object" and schema.get("additionalProperties"):
        return {"*": _short(schema["additionalProperties"])}
    if kind == "object":
        return {name: _short(part) for name, part in sorted(schema.get("properties", {}).items())}
    if "enum" in schema:
        return {"=": sorted(schema["enum"])}
    form = schema.get("format", "")
    return form if form in {"int64", "uint64", "int32", "uint32", "byte"} else kind


def served() -> set[str]:
    """Return the methods with a body that the lab's API serves, by their ids."""
    from khw.lab.api.table import KINDS

    found = set()
    for kind in KINDS.values():
        found |= {f"{kind.collection}.insert"} if kind.collection != "disks" else set()
        found |= {f"{kind.collection}.{verb}" for verb in kind.actions if verb not in kind.bodiless}
        found |= {f"{kind.collection}.{what}" for what, (method, _) in kind.reads.items() if method == "POST"}
        found |= {f"{kind.collection}.{verb}" for verb in ("patch",) if kind.patched}
        found |= {f"{kind.collection}.update"} if kind.replaced else set()
        found |= {f"{kind.collection}.setLabels"} if kind.labels else set()
    return found


if __name__ == "__main__":
    where = Path(__file__).parent.parent / "khw" / "lab" / "api" / "description.json"
    where.write_text(json.dumps(extract(served()), indent=1, sort_keys=True) + "\n")
