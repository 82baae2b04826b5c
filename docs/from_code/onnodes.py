"""What is on a controller and on a worker when all is done, from the tasks themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from from_code.markdown import table
from khw.cluster.spec import Spec
from khw.converge.resources import Binary, Directory, File, Image, Unit
from khw.engine.phases import PHASES
from khw.flags.rendered import planned, specimens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource

HEAD = """\
# What is on a node

Everything that khw puts on the first controller and the first worker of the cluster that `khw init` describes, in the
order in which it comes. Names and places are the guide's.
"""


def page() -> str:
    """Return the page."""
    cluster = planned(Spec())
    parts = [HEAD]
    for node in (cluster.controllers[0], cluster.workers[0]):
        rows = list(_rows(node, cluster))
        parts.append(f"## {node.name}\n\n" + table(("chapter", "phase", "what", "mode", "owner"), rows))
    return "\n\n".join(parts) + "\n"


def _rows(node: Node, cluster: Cluster) -> Iterator[tuple[str, str, str, str, str]]:
    pki = specimens(cluster)
    for phase in PHASES:
        if phase.task and phase.on(node) and not phase.once:
            for resource in phase.task(node, cluster, pki):
                if told := _told(resource):
                    yield str(phase.chapter), f"[{phase.name}](phases.md#{phase.name})", *told


def _told(resource: Resource) -> tuple[str, str, str] | None:
    match resource:
        case Directory():
            return f"`{resource.path}/`", f"{resource.mode:04o}", resource.owner
        case File():
            return f"`{resource.path}`", f"{resource.mode:04o}", resource.owner
        case Binary():
            return f"`{resource.path}` ({resource.artifact})", f"{resource.mode:04o}", "root:root"
        case Unit():
            return f"`/etc/systemd/system/{resource.name}`", f"{resource.mode:04o}", "root:root"
        case Image():
            return f"image `{resource.reference}`", "", ""
        case _:
            return None
