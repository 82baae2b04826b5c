"""
What a collection of the API is: a description. One code inserts, gets, lists and deletes them all (service.py).

The descriptions themselves are beside the things: vpc.py, instances.py, groups.py, balancing.py; table.py has
them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from khw.lab.api.problems import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.lab.api.links import Level
    from khw.lab.api.project import Project
    from khw.lab.state import Entry, Job

Json = dict[str, Any]

Fill = Callable[["Project", "Entry"], None]
"""Checks a new resource and fills in what Google fills in; raises ApiError or OperationError."""

Work = Callable[["Project", "Entry", "Job"], None]
"""Makes an operation real: may block, may be run again; raises LabError or OperationError."""

Action = Callable[["Project", "Entry", Json], None]
"""Checks and takes over the body of a custom method, at once; its Work follows."""

Read = Callable[["Project", "Entry", Json], Json]
"""Answers a custom method that changes nothing; the body is the request's, or its query."""

View = Callable[["Project", "Entry", Json], None]
"""Adds to the answer what follows from other resources."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A collection whose members users insert and delete."""

    collection: str  # as clients call it: regionHealthChecks
    path: str  # in links: healthChecks
    resource: str  # healthCheck
    level: Level
    fill: Fill
    links: tuple[str, ...] = ()  # fields that name other resources: "network", "backends[].group"
    networked: bool = False  # what it says is part of the network
    labels: bool = False  # has setLabels
    patched: bool = False  # has patch
    aggregated: bool = False  # has aggregatedList
    replaced: bool = False  # has update: the whole resource again, made from the one of now
    view: View | None = None
    works: Mapping[str, Work] = field(default_factory=dict)  # verb -> work
    actions: Mapping[str, Action] = field(default_factory=dict)  # POST …/NAME/action -> an operation
    bodiless: frozenset[str] = frozenset()  # those of the actions that take no body
    reads: Mapping[str, tuple[str, Read]] = field(default_factory=dict)  # …/NAME/path -> method and answer
    locked: Callable[[Entry], str] = lambda _: ""  # why a user may not delete it


def link_fields(body: Json, paths: tuple[str, ...]) -> Iterator[tuple[Json | list[Any], str | int, str]]:
    """Return where each link stands in `body`: its container, its key there, and its name for errors."""
    for path in paths:
        yield from _walk(body, path.split("."), "resource")


def _walk(body: Json, path: list[str], where: str) -> Iterator[tuple[Json | list[Any], str | int, str]]:
    name = path[0].removesuffix("[]")
    value = body.get(name)
    if value is None or value in ("", []):
        return
    where = f"{where}.{name}"
    if not path[0].endswith("[]"):
        if len(path) == 1:
            yield body, name, where
        else:
            yield from _walk(value, path[1:], where)
        return
    for index, member in enumerate(value):
        if len(path) == 1:
            yield value, index, f"{where}[{index}]"
        else:
            yield from _walk(member, path[1:], f"{where}[{index}]")


def resolve_links(project: Project, kind: Kind, body: Json) -> None:
    """Check that everything that `body` names is there and ready, and write its full link."""
    expected = {"group": "instanceGroups", "network": "networks", "subnetwork": "subnetworks"}
    for holder, key, where in link_fields(body, kind.links):
        text = holder[key]  # type: ignore[index]  # a dict with its key, or a list with its index
        entry = project.referenced(text, where)
        wanted = expected.get(str(key))
        if wanted and entry.collection != wanted:
            raise invalid(where, text, "The referenced resource is of another kind.")
        holder[key] = entry.body["selfLink"]  # type: ignore[index]  # as above
