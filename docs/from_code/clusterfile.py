"""The cluster file's keys, from the models that read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from from_code.markdown import code, definitions
from khw.cluster.schema import schema
from khw.cluster.template import template

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """\
# The cluster file

`khw.yaml` says what the cluster is; `khw init` writes one, and `-f` or `KHW_FILE` names another place. Every key but
those marked *required* has a default. An unknown key, a wrong value and ranges that overlap are errors that name the
line, all of them at once, before anything is touched.

Its first line names a JSON schema, `.khw/khw.schema.json`, which `khw init` and `khw run` put there: editors with a
YAML language server complete keys, show what they are for and mark what is wrong, without network. `khw schema` prints
it.
"""

TAIL = """\
## What khw init writes

```yaml
{template}```
"""


def page() -> str:
    """Return the page."""
    whole = schema()
    plain, sections = [], []
    for name, field in whole["properties"].items():
        model = _model(field, whole)
        if model is None:
            plain.append((name, field))
        else:
            sections.append(f"## {name}\n\n{field['description']}\n\n" + definitions(_keys(name, model, whole)))
    top = definitions(_entry(name, field, required=False) for name, field in plain)
    return "\n\n".join((HEAD, "## At the top\n\n" + top, *sections, TAIL.format(template=template()))) + "\n"


def _model(field: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any] | None:
    """Return the part of the schema that a field, or each item of its list, refers to."""
    reference = field.get("$ref") or field.get("items", {}).get("$ref")
    found: dict[str, Any] | None = whole["$defs"].get(reference.rpartition("/")[2]) if reference else None
    return found if found and "properties" in found else None


def _keys(prefix: str, model: dict[str, Any], whole: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, field in model["properties"].items():
        inner = _model(field, whole)
        yield _entry(f"{prefix}.{name}", field, required=name in model.get("required", ()))
        if inner:
            yield from _keys(f"{prefix}.{name}[]", inner, whole)


def _entry(name: str, field: dict[str, Any], *, required: bool) -> tuple[str, str]:
    default = field.get("default")
    facts = [_kind(field), "*required*" if required else ""]
    if default not in (None, []):
        shown = (
            ", ".join(map(str, default))
            if isinstance(default, list)
            else f"{default:g}"
            if isinstance(default, float)
            else default
        )
        facts.append(f"default {code(str(shown))}")
    return code(name), field["description"] + "\n\n" + ", ".join(filter(None, facts)) + "."


def _kind(field: dict[str, Any]) -> str:
    if "enum" in field:
        return "one of " + ", ".join(code(choice) for choice in field["enum"])
    if field.get("type") == "array":
        inner = field["items"]
        return "list of " + (
            " · ".join(inner["enum"]) if "enum" in inner else "mappings" if "$ref" in inner else "texts"
        )
    kind = field.get("type", "")
    kind = kind[0] if isinstance(kind, list) else kind
    return {"string": "text", "integer": "whole number", "number": "number"}.get(kind, "controller or worker")
