"""
The cluster file: khw.yaml in, `khw.cluster.spec.Spec` out, and the text that `khw init` writes.

Everything wrong with the file is told at once, each with its line, before anything is touched:

    khw.yaml:7: unknown key 'contollers'; did you mean 'controllers'?
"""

from __future__ import annotations

import difflib
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from khw.cluster.rules import findings
from khw.cluster.spec import Spec
from khw.cluster.template import template
from khw.errors import ClusterFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic_core import ErrorDetails

Place: TypeAlias = tuple[int | str, ...]

__all__ = ["load", "template"]

POOLS = {"controllers", "etcd", "workers"}


def load(path: Path) -> Spec:
    """Read the cluster file at `path`; ClusterFileError carries every problem with its line."""
    document = _parse(path)
    plain = _with_hosts_file(_with_pool_defaults(_plain(document)), path.resolve().parent)
    told: Iterable[tuple[Place, str]]
    try:
        spec = Spec.model_validate(plain)
    except ValidationError as error:
        told = map(_explain, error.errors())
    else:
        told = ((_written(document, place), text) for place, text in findings(spec))
    problems = [(_line(document, place), text) for place, text in (_from_hosts(plain, *problem) for problem in told)]
    if problems:
        rows = sorted(dict.fromkeys(problems))
        raise ClusterFileError("\n".join(f"{path}:{line}: {text}" for line, text in rows))
    return _with_paths(spec, path.resolve().parent)


def _with_paths(spec: Spec, folder: Path) -> Spec:
    """Let a relative path be one from the cluster file's folder, wherever khw is started."""
    made: dict[str, BaseModel] = {}
    if (mirror := spec.artifacts.mirror) and "://" not in mirror:
        made["artifacts"] = spec.artifacts.model_copy(update={"mirror": str(folder / Path(mirror).expanduser())})
    if spec.ssh.private_key:
        key = str(folder / Path(spec.ssh.private_key).expanduser())
        made["ssh"] = spec.ssh.model_copy(update={"private_key": key})
    if config := spec.ssh.config:
        ssh = made.get("ssh", spec.ssh)
        made["ssh"] = ssh.model_copy(update={"config": str(folder / Path(config).expanduser())})
    return spec.model_copy(update=made)


def _parse(path: Path) -> CommentedMap:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ClusterFileError(f"{path} does not exist", hint="`khw init` writes one; -f names another place") from None
    except IsADirectoryError:
        raise ClusterFileError(
            f"{path} is a directory, not a cluster file", hint=f"did you mean {path / 'khw.yaml'}?"
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ClusterFileError(f"{path}:{line}: this is not text in UTF-8") from None
    except OSError as error:
        raise ClusterFileError(f"{path} cannot be read: {error.strerror}", hint=f"look at `ls -l {path}`") from None
    try:
        document = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = (error.problem or "this is not YAML").splitlines()[0]
        raise ClusterFileError(
            f"{path}:{mark.line + 1 if mark else 1}: bad YAML: {problem}",
            hint="keys are indented by spaces, and a colon is followed by a space",
        ) from None
    except YAMLError as error:
        raise ClusterFileError(f"{path}:1: bad YAML: {str(error).splitlines()[0]}") from None
    if document is None:
        document = CommentedMap()
    if not isinstance(document, CommentedMap):
        raise ClusterFileError(
            f"{path}:1: a cluster file is a mapping of keys to values, not a {_kind(document)}",
            hint="`khw init` writes an example with every key",
        )
    return document


def _kind(value: object) -> str:
    return "list" if isinstance(value, CommentedSeq) else "single value"


def _plain(value: Any) -> Any:  # YAML values have no narrower type before pydantic has seen them
    if isinstance(value, CommentedMap):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, CommentedSeq):
        return [_plain(item) for item in value]
    return value


def _with_pool_defaults(plain: dict[str, Any]) -> dict[str, Any]:
    """Let `controllers: {count: 1}` keep the pool's name and first address; let a list count itself."""
    for key in POOLS & plain.keys():
        pool = plain[key]
        if pool is None:
            del plain[key]
        elif isinstance(pool, dict):
            listed = [pool[name] for name in ("names", "addresses", "images") if isinstance(pool.get(name), list)]
            if listed and "count" not in pool:
                pool["count"] = max(len(rows) for rows in listed)
            default = Spec.model_fields[key].default
            pool.setdefault("name", default.name)
            pool.setdefault("first_address", default.first_address)
    return plain


def _with_hosts_file(plain: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Take the machines from Nornir's hosts.yaml, if `static.hosts_file` names one and they are not listed."""
    static = plain.get("static")
    if isinstance(static, dict) and isinstance(static.get("hosts_file"), str) and not static.get("nodes"):
        from khw.inventory.hosts_file import nodes_of

        static["nodes"] = nodes_of(folder / Path(static["hosts_file"]).expanduser())
    return plain


def _from_hosts(plain: Mapping[str, Any], place: Place, text: str) -> tuple[Place, str]:
    """Let a problem with a machine of hosts.yaml name it there: khw.yaml has no `static.nodes` then."""
    static = plain.get("static")
    if place[:2] != ("static", "nodes") or not isinstance(static, dict) or not static.get("hosts_file"):
        return place, text
    here = f"{static['hosts_file']}: "
    if len(place) > 2:
        index = place[2]
        here += f"{static['nodes'][index]['name']}: "
        text = text.replace(f"static.nodes[{index}].", "")
    return ("static", "hosts_file"), here + text


def _written(document: CommentedMap, place: Place) -> Place:
    """Return what the author wrote: the subnet, if an address left to its default is outside it."""
    pool = document.get(place[0]) if place else None
    if place[0] in POOLS and not (isinstance(pool, CommentedMap) and place[1] in pool):
        return ("network", "subnet_cidr")
    return place


def _line(document: CommentedMap, place: Place) -> int:
    """Return the line of `place`, or of the deepest part of it that the file has (1 if none)."""
    line = 1
    value: Any = document
    for part in place:
        try:
            line = (value.lc.key(part) if isinstance(value, CommentedMap) else value.lc.item(part))[0] + 1
            value = value[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line


def _explain(error: ErrorDetails) -> tuple[Place, str]:
    """Turn one of pydantic's findings into a place and a sentence."""
    place: Place = error["loc"]
    name = _dotted(place)
    if error["type"] == "extra_forbidden":
        return place, f"unknown key '{place[-1]}'{_near_key(place)}"
    if error["type"] == "missing":
        return place, f"'{name}' is missing"
    seen = error["input"]
    message = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    if error["type"] in {"model_type", "model_attributes_type"}:
        return place, f"'{name}' has keys of its own, it is not a single value ({_short(seen)})"
    if "ip_v4_network" in error["type"] or "ip_v4_address" in error["type"]:
        return place, f"'{name}' is {_short(seen)}; {_address_form(error['type'], seen)}"
    guess = ""
    if error["type"] == "literal_error" and isinstance(seen, str):
        choices = error["ctx"]["expected"].replace(" or ", ", ").split(", ")
        guess = _did_you_mean(seen, [choice.strip("'") for choice in choices])
    return place, f"'{name}' is {_short(seen)}; it should be {message[0].lower()}{message[1:]}{guess}"


def _address_form(kind: str, seen: object) -> str:
    if "address" in kind:
        return "it should be an IPv4 address such as 10.240.0.10"
    if isinstance(seen, str) and "/" in seen:
        try:
            return f"the network of that address is {IPv4Network(seen, strict=False)}"
        except ValueError:
            pass
    return "it should be an IPv4 range such as 10.240.0.0/24"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _dotted(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _near_key(place: Place) -> str:
    """Return '; did you mean …?' for an unknown key: a near name, or where it belongs."""
    wrong = str(place[-1])
    here = _model_at(place[:-1])
    near = _did_you_mean(wrong, list(here.model_fields) if here else [])
    if near:
        return near
    elsewhere = [path for path in _all_keys(Spec) if path.rpartition(".")[2] == wrong]
    return f"; did you mean '{elsewhere[0]}'?" if elsewhere else ""


def _did_you_mean(wrong: str, choices: list[str]) -> str:
    near = difflib.get_close_matches(wrong, choices, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _model_at(place: Place) -> type[BaseModel] | None:
    model: type[BaseModel] | None = Spec
    for part in place:
        if isinstance(part, str) and model:
            model = _part_of(model.model_fields[part].annotation)
    return model


def _part_of(annotation: object) -> type[BaseModel] | None:
    """Return the model in an annotation such as `Gcp | None` or `tuple[StaticNode, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _part_of(part))), None)


def _all_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    fields: Mapping[str, Any] = model.model_fields
    for name, field in fields.items():
        yield f"{prefix}{name}"
        if part := _part_of(field.annotation):
            yield from _all_keys(part, f"{prefix}{name}.")
