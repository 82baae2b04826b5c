"""
Files whose reader would ignore a field that it does not know: kubeconfigs, CNI's networks, the runtime's options.

Their fields are looked up among the names that are compiled into the reader (the struct tags of a Go binary), so the
list is always that of the pinned version. A field at the wrong depth is not seen by this; a misspelt one is.
"""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

from khw.flags.names import fields_of, nearest
from khw.tasks.containerd import CNI_BIN, CNI_CONF

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from khw.flags.asking import Room
    from khw.flags.rendered import Rendered


def readers(rendered: Rendered) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each such file with the paths of the binaries that read it."""
    kubectl = next((path for path, artifact in rendered.binaries.items() if artifact == "kubectl"), "")
    for path, text in rendered.files.items():
        if "\nkind: Config\n" in text:
            yield path, (kubectl,)
        elif path.startswith(f"{CNI_CONF}/"):
            yield path, tuple(f"{CNI_BIN}/{plugin}" for plugin in _plugins(text))


def strange_fields(text: str, binaries: Mapping[str, Path], readers_name: str) -> list[str]:
    """Return what is wrong with the fields of a YAML or JSON file, by what these binaries know."""
    known = frozenset[str]().union(*(fields_of(path) for path in binaries.values()))
    return [
        f"{name} is not a field that {readers_name} knows{nearest(name, known)}"
        for name in dict.fromkeys(_names(_load(text)))
        if name not in known
    ]


def strange_version(room: Room, text: str, plugin: Path, readers_name: str) -> list[str]:
    """Return what is wrong with the cniVersion of a network, by what its plugin supports."""
    answer = room.ask(plugin, (), environment={"CNI_COMMAND": "VERSION"})
    try:
        supported = json.loads(answer.out)["supportedVersions"]
        asked = json.loads(text)["cniVersion"]
    except (ValueError, KeyError):
        return []
    if asked in supported:
        return []
    return [f"cniVersion {asked} is not one that {readers_name} supports: {', '.join(supported)}"]


def strange_plugins(text: str, default: str) -> list[str]:
    """
    Return what containerd lets pass in its config.toml: plugins that it does not have, and unknown options of runc.

    `default` is its own default configuration, which names all of them.
    """
    ours, theirs = tomllib.loads(text).get("plugins", {}), tomllib.loads(default).get("plugins", {})
    problems = [f"there is no plugin {name}{nearest(name, theirs)}" for name in ours if name not in theirs]
    known = {name for options in _options(theirs) for name in options}
    return problems + [
        f"{name} is not an option of the runtime{nearest(name, known)}"
        for options in _options(ours)
        for name in options
        if name not in known
    ]


def _options(tree: object) -> Iterator[dict[str, object]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == "options" and isinstance(value, dict):
                yield value
            else:
                yield from _options(value)


def _plugins(text: str) -> Iterator[str]:
    network = json.loads(text)
    for entry in network.get("plugins", [network]):
        yield entry["type"]
        if "type" in entry.get("ipam", {}):
            yield entry["ipam"]["type"]


def _load(text: str) -> object:
    if text.lstrip().startswith("{"):
        return json.loads(text)
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text)


def _names(tree: object) -> Iterator[str]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield str(name)
            yield from _names(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _names(value)
