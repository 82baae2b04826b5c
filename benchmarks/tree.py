"""
What khw's tasks ask for, as a tree of files that anyone can copy: so all contestants put the same bytes on the nodes.

    tree/CHAPTER/HOST/PATH     files, units, directories with their modes; binaries are links to the artifacts
    tree/images/NAME.tar       container images, tree/images/references.json their names
    tree/manifests/NAME.yaml   Kubernetes objects

Rendering is not measured, and the certificates are issued before any clock starts, for khw too.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from khw.converge.resources import (
    Absent,
    Binary,
    Command,
    Directory,
    File,
    Image,
    Manifest,
    Package,
    Require,
    Resource,
    Unit,
    Wait,
)
from khw.engine.engine import connect
from khw.engine.phases import PHASES
from khw.files import write_atomically
from khw.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.ground import Ground
    from khw.artifacts.store import Store
    from khw.cluster.model import Node
    from khw.converge.resources import Content
    from khw.engine.operator import Run

CHAPTERS = ("certificates", "kubeconfigs", "encryption", "etcd", "control-plane", "rbac", "runtime", "workers", "dns")
"""The phases that are measured, in the table's order; before the first are booted machines."""

FIRST, LAST = CHAPTERS[0], CHAPTERS[-1]


@dataclass(frozen=True, slots=True)
class Rendered:
    """The tree, what it was made of, and the machines as their agents saw them."""

    directory: Path
    run: Run
    nodes: tuple[Node, ...]


def render(ground: Ground) -> Rendered:
    """Write the tree anew for the machines as they are now."""
    tree = ground.root / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(mode=0o700)  # private keys are in it
    run = ground.session.context()
    agents, unreachable = connect(run, run.cluster.nodes)
    try:
        if unreachable:
            raise RuntimeError(str(unreachable))
        nodes = tuple(node.with_facts(agents[node.name].facts) for node in run.cluster.nodes)
    finally:
        for agent in agents.values():
            agent.close()
    for node in nodes:
        _render_node(tree, run, node)
    return Rendered(tree, run, nodes)


def _render_node(tree: Path, run: Run, node: Node) -> None:
    for phase in PHASES:
        if phase.name in CHAPTERS and phase.task and phase.on(node):
            for resource in phase.task(node, run.cluster, run.pki):
                write(tree, tree / phase.name / node.name, resource, run.store)


def write(tree: Path, home: Path, resource: Resource, store: Store) -> None:
    """Put what is a file below `home`, and an image or a manifest below `tree`."""
    match resource:
        case Directory(path=path, mode=mode):
            place = home / path.lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(mode)
        case File(path=path, content=content, mode=mode):
            write_atomically(home / path.lstrip("/"), _bytes(content), mode=mode)
        case Unit(name=name, content=content):
            write_atomically(home / "etc/systemd/system" / name, content.encode())
        case Binary(path=path, artifact=artifact):
            link(home / path.lstrip("/"), store.get(artifact).path)
        case Image(artifact=artifact, reference=reference):
            _note_image(tree / "images", artifact, reference, store.get(artifact).path)
        case Manifest(name=name, documents=documents):
            write_atomically(tree / "manifests" / f"{name}.yaml", documents.encode())
        case Absent() | Command() | Package() | Require() | Wait():
            pass  # what is no file is written in each contestant's own way
        case _:
            assert_never(resource)


def link(place: Path, target: Path) -> None:
    """Make a link, in place of what is there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(target)


def _note_image(images: Path, artifact: str, reference: str, archive: Path) -> None:
    link(images / f"{artifact}.tar", archive)
    known = images / "references.json"
    references = json.loads(known.read_text()) if known.exists() else {}
    write_atomically(known, json.dumps({**references, artifact: reference}, indent=2).encode())


def _bytes(content: Content) -> bytes:
    if isinstance(content, Secret):
        return content.reveal()
    return content.encode() if isinstance(content, str) else content
