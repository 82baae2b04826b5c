"""What is to be there, compared with what is: made if missing, named if it differs; only what follows is updated."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from khw.converge.changes import Action, Change
from khw.errors import DiffersError
from khw.inventory.gcp.errors import explained
from khw.inventory.gcp.library import refusals
from khw.inventory.gcp.operations import Job, begin, finish, together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from khw.inventory.gcp.clients import Api, Message
    from khw.inventory.gcp.kinds import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    A resource that is to be there.

    `facets` gives what matters of it (wanted or seen), as field → text; `after` are the ids of those that it needs.
    `follows` are the facets that come from what changes by itself (an address): where only these differ, it is
    brought up to date.
    """

    kind: Kind
    name: str
    message: Message
    facets: Callable[[Message], Mapping[str, str]]
    zone: str = ""
    after: tuple[str, ...] = field(default_factory=tuple)
    follows: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)  # for kinds that take them only once they are there

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
    differing = {row.id: _differences(row, seen[row.id]) for row in wanted if seen[row.id] is not None}
    refused = [row for row in wanted if {key for key, _, _ in differing.get(row.id, ())} - row.follows]
    if refused:
        raise differs(api, [(row, seen[row.id]) for row in refused])
    missing = [row for row in wanted if seen[row.id] is None]
    late = [row for row in wanted if differing.get(row.id)]
    seconds: dict[Any, float] = {}
    if not check:
        jobs = [Job(row.id, partial(_insert, api, row), row.after) for row in missing]
        seconds = together(api, [*jobs, *(Job(row.id, partial(_update, api, row)) for row in late)])
    return [_change(row, differing.get(row.id), seconds.get(row.id, 0.0)) for row in wanted]


def _change(row: Wanted, differences: Sequence[tuple[str, str, str]] | None, seconds: float) -> Change:
    """Return what was done, or is to be done: `differences` is None for what is missing."""
    if differences is None:
        return Change(resource=row.id, action=Action.CREATED, before="absent", after=row.summary, seconds=seconds)
    if not differences:
        return Change(resource=row.id, action=Action.UNCHANGED)
    return Change(
        resource=row.id,
        action=Action.UPDATED,
        before=", ".join(f"{key} {actual}" for key, _, actual in differences),
        after=", ".join(f"{key} {expected}" for key, expected, _ in differences),
        seconds=seconds,
    )


def _labels(rows: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(rows.items()))


def _update(api: Api, row: Wanted) -> float:
    """Bring a resource up to date in place."""
    began = time.monotonic()
    if row.labels:  # the kinds that have them have nothing else that follows
        _label(api, row)
        return time.monotonic() - began
    doing = f"updating {row.kind.name} {row.name}"
    request = {**api.place(row.kind, row.zone), row.kind.field: row.name, f"{row.kind.field}_resource": row.message}
    with explained(doing, api.gcp):
        operation = begin(api, row.kind.client, "patch_unary", request, doing)
    finish(api, operation, doing)
    return time.monotonic() - began


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
    if row.labels:
        _label(api, row)
    return time.monotonic() - began


def _label(api: Api, row: Wanted) -> None:
    """Put khw's labels beside those that are there."""
    doing = f"labelling {row.kind.name} {row.name}"
    seen = api.get(row.kind, row.name, row.zone)
    if seen is None:
        return  # it is gone again: the next run makes it
    body = {"labels": {**seen.labels, **row.labels}, "label_fingerprint": seen.label_fingerprint}
    request = {**api.place(row.kind), "resource": row.name, "region_set_labels_request_resource": body}
    with explained(doing, api.gcp):
        operation = begin(api, row.kind.client, "set_labels_unary", request, doing)
    finish(api, operation, doing)


def _differences(row: Wanted, seen: Message) -> list[tuple[str, str, str]]:
    expected, actual = dict(row.facets(row.message)), dict(row.facets(seen))
    if row.labels:
        expected["labels"] = _labels(row.labels)
        actual["labels"] = _labels({key: seen.labels[key] for key in row.labels if key in seen.labels})
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
