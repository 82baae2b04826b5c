"""What is to be there, compared with what is: made if missing, named if it differs, never overwritten."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from google.api_core import exceptions as refusals

from khw.converge.changes import Action, Change
from khw.errors import DiffersError
from khw.inventory.gcp_errors import explained
from khw.inventory.gcp_operations import Job, begin, finish, together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from khw.inventory.gcp_clients import Api, Message
    from khw.inventory.gcp_kinds import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    A resource that is to be there.

    `facets` gives what matters of it (wanted or seen), as field → text; `after` are the ids of those that it needs.
    """

    kind: Kind
    name: str
    message: Message
    facets: Callable[[Message], Mapping[str, str]]
    zone: str = ""
    after: tuple[str, ...] = field(default_factory=tuple)

    @property
    def id(self) -> str:
        """What changes and the journal call it."""
        return f"{self.kind.name}:{self.name}"

    @property
    def summary(self) -> str:
        """What was made, in a few words."""
        return ", ".join(f"{key} {value}" for key, value in self.facets(self.message).items() if value)


def mark(cluster: str) -> str:
    """Return the description that says whose a resource is, for the kinds that take no labels when they are made."""
    return f"khw cluster {cluster}"


def ensure(api: Api, wanted: Sequence[Wanted], *, check: bool) -> list[Change]:
    """Make what is missing, each as soon as what it needs is there; nothing at all if anything differs."""
    seen = together(api, [Job(row.id, partial(api.get, row.kind, row.name, row.zone)) for row in wanted])
    differing = [row for row in wanted if seen[row.id] is not None and _differences(row, seen[row.id])]
    if differing:
        raise differs(api, [(row, seen[row.id]) for row in differing])
    missing = [row for row in wanted if seen[row.id] is None]
    seconds: dict[Any, float] = {}
    if not check:
        seconds = together(api, [Job(row.id, partial(_insert, api, row), row.after) for row in missing])
    return [
        Change(
            resource=row.id,
            action=Action.CREATED if row in missing else Action.UNCHANGED,
            before="absent" if row in missing else "",
            after=row.summary if row in missing else "",
            seconds=seconds.get(row.id, 0.0),
        )
        for row in wanted
    ]


def _insert(api: Api, row: Wanted) -> float:
    began = time.monotonic()
    doing = f"creating {row.kind.name} {row.name}"
    request = {**api.place(row.kind, row.zone), f"{row.kind.field}_resource": row.message}
    with explained(doing, api.gcp):
        try:
            operation = begin(api, row.kind.client, "insert_unary", request, doing)
        except refusals.Conflict:
            # Somebody else made it in the meantime: the same rule holds for it.
            seen = api.get(row.kind, row.name, row.zone)
            if seen is None:
                raise
            if _differences(row, seen):
                raise differs(api, [(row, seen)]) from None
            return time.monotonic() - began
    finish(api, operation, doing)
    return time.monotonic() - began


def _differences(row: Wanted, seen: Message) -> list[tuple[str, str, str]]:
    expected, actual = row.facets(row.message), row.facets(seen)
    return [(key, value or "none", actual[key] or "none") for key, value in expected.items() if actual[key] != value]


def differs(api: Api, rows: Sequence[tuple[Wanted, Message]]) -> DiffersError:
    """Return the error that names each resource that differs, its fields, and a way out."""
    text = [
        f"{row.kind.name} {row.name} exists and differs: {key} is {actual}, expected {expected}"
        for row, seen in rows
        for key, expected, actual in _differences(row, seen)
    ]
    first = rows[0][0]
    where = {"global": "", "region": f" --region {api.gcp.region}", "zone": f" --zone {first.zone or api.gcp.zone}"}
    return DiffersError(
        "\n".join(text),
        hint="make the cluster file say what is there, take another name, or remove it: "
        f"`gcloud compute {first.kind.command} delete {first.name}{where[first.kind.scope]} "
        f"--project {api.gcp.project}`",
        resources=tuple(row.id for row, _ in rows),
    )
