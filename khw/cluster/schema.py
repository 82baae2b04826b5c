"""
The cluster file's form as JSON Schema, for editors: made from the same models that read the file.

What a schema cannot say (ranges that overlap, an even number of controllers) is in `khw.cluster.rules`. It accepts
every file that khw accepts, but for keys with nothing after them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from khw.cluster.spec import Spec

if TYPE_CHECKING:
    from pathlib import Path

NAME = "khw.schema.json"
FOLDER = ".khw"
BESIDE = f"{FOLDER}/{NAME}"
"""Where `khw init` and `khw run` put it, from the cluster file's folder: there without network, and never old."""

MODELINE = f"# yaml-language-server: $schema={BESIDE}"
"""The line by which editors find it (a relative path is one from the file that has the line)."""

_OCTETS = r"^[0-9]{1,3}(\.[0-9]{1,3}){3}"
_PATTERNS = {"ipv4": f"{_OCTETS}$", "ipv4network": f"{_OCTETS}(/[0-9]{{1,2}})?$"}
_POOL_DEFAULTS = ("name", "first_address")  # khw.cluster.file fills them in, by the pool's role


def schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of khw.yaml."""
    made: dict[str, Any] = _plainer(Spec.model_json_schema())
    pool = made["$defs"]["Pool"]
    pool["required"] = [key for key in pool.pop("required", ()) if key not in _POOL_DEFAULTS]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "khw.yaml",
        "description": "A cluster, as khw makes it.",
        "if": {"properties": {"provider": {"const": "static"}}, "required": ["provider"]},
        "then": {"required": ["static"]},
        "else": {"required": ["gcp"]},
    }


def text() -> str:
    """Return the schema as text."""
    return json.dumps(schema(), indent=2) + "\n"


def put_beside(cluster_file: Path) -> None:
    """Write the schema where the cluster file's first line names it, if it is not there already as it should be."""
    from khw.files import write_atomically

    folder = cluster_file.resolve().parent / FOLDER
    content = text().encode()
    if not (folder / NAME).exists() or (folder / NAME).read_bytes() != content:
        folder.mkdir(exist_ok=True)
        write_atomically(folder / NAME, content)


def _plainer(node: Any) -> Any:  # JSON has no narrower type
    """Leave out pydantic's titles, give addresses a pattern, and let a section be what it is, without null."""
    if isinstance(node, list):
        return [_plainer(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _plainer(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    if pattern := _PATTERNS.get(str(node.get("format"))):
        made.pop("format")
        made["pattern"] = pattern
    match made.get("anyOf"):
        case [{"$ref": reference}, {"type": "null"}]:
            del made["anyOf"], made["default"]
            made["$ref"] = reference
        case [{"type": "array"} as choice, {"type": "null"}]:
            del made["anyOf"], made["default"]
            made |= choice
        case [{"type": "string"} as choice, {"type": "null"}]:
            del made["anyOf"]
            made |= {**choice, "type": ["string", "null"]}
    return made
