"""What every collection does alike: insert, get, list, delete, labels, and its own methods, by its description."""

from __future__ import annotations

import copy
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from khw.lab.api.catalog import PLACES, check_place
from khw.lab.api.kind import resolve_links
from khw.lab.api.links import BASE, Scope
from khw.lab.api.operations import Before
from khw.lab.api.paging import page
from khw.lab.api.problems import (
    ApiError,
    OperationError,
    already_exists,
    in_use,
    invalid,
    not_found,
    not_ready,
    required,
    stale,
    understood,
)
from khw.lab.state import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from khw.lab.api.kind import Kind
    from khw.lab.api.operations import Operations
    from khw.lab.api.project import Project
    from khw.lab.state import Job

    Json = dict[str, Any]
    Query = Mapping[str, str]
    Row = tuple[str, Json]

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_GIVEN = ("kind", "id", "name", "creationTimestamp", "selfLink")  # the API's own, whatever an update says
_LABEL = re.compile(r"[-_a-z0-9]{0,63}")


@dataclass(frozen=True, slots=True)
class Act:
    """A custom method as it was called: `request` is the client's requestId."""

    verb: str
    body: Json
    request: str = ""


class Service:
    """The API's methods, on a project."""

    def __init__(self, project: Project, operations: Operations) -> None:
        self.project = project
        self.operations = operations

    # The four that all have

    def insert(self, kind: Kind, scope: Scope, body: Json, query: Query) -> Json:
        """Take a new resource in, and begin to make it real."""
        check_place(scope.level, scope.name)
        with self.project.state.lock:
            again = self.operations.repeated(query.get("requestId", ""))
            if again:
                return copy.deepcopy(again.body)
            entry = self._new_entry(kind, scope, body)
            problem: tuple[str, ...] = ()
            try:
                with understood():
                    resolve_links(self.project, kind, entry.body)
                    kind.fill(self.project, entry)
                self.project.state.entries[entry.key] = entry
            except OperationError as error:
                problem = (error.code, error.message)
            job = self.operations.begin("insert", entry, request=query.get("requestId", ""), problem=problem)
            return copy.deepcopy(job.body)

    def _new_entry(self, kind: Kind, scope: Scope, body: Json) -> Entry:
        name = body.get("name")
        if not name:
            raise required("resource.name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            why = "Must be a match of regex '[a-z]([-a-z0-9]{0,61}[a-z0-9])?'"
            raise invalid("resource.name", name, why)
        key = f"{scope.path}/{kind.path}/{name}"
        if key in self.project.state.entries:
            raise already_exists(self.project.path(key))
        body = copy.deepcopy(body)
        body.update(
            kind=f"compute#{kind.resource}",
            id=str(secrets.randbits(62)),
            creationTimestamp=self.project.now(),
            selfLink=self.project.link(key),
        )
        if scope.level != "global":
            body[scope.level] = self.project.link(scope.path)
        if kind.labels:
            self._write_labels(body, body.get("labels", {}))
        return Entry(kind.collection, scope.path, name, key, body)

    def get(self, kind: Kind, scope: Scope, name: str) -> Json:
        """Return one resource."""
        with self.project.state.lock:
            return self._view(kind, self._entry(kind, scope, name))

    def rows(self, kind: Kind, scope: Scope | None = None) -> list[Row]:
        """Return the resources of a scope, or of all scopes."""
        if scope:
            check_place(scope.level, scope.name)
        with self.project.state.lock:
            return [
                (entry.scope, self._view(kind, entry))
                for entry in self.project.of(kind.collection)
                if scope is None or entry.scope == scope.path
            ]

    def delete(self, kind: Kind, scope: Scope, name: str, query: Query) -> Json:
        """Begin to take a resource away, unless something stands on it."""
        with self.project.state.lock:
            again = self.operations.repeated(query.get("requestId", ""))
            if again:
                return copy.deepcopy(again.body)
            entry = self._entry(kind, scope, name)
            path = self.project.path(entry.key)
            if entry.deleting or not entry.ready:
                raise not_ready(path)
            if kind.locked(entry):
                raise ApiError(400, "invalid", kind.locked(entry))
            users = [user.key for user in self.project.users_of(entry)]
            urls = self._view(kind, entry).get("users", [])
            users += [url.split(f"projects/{self.project.name}/", 1)[1] for url in urls]
            if users:
                raise in_use(kind.resource, path, self.project.path(users[0]))
            entry.deleting = True
            job = self.operations.begin("delete", entry, request=query.get("requestId", ""))
            return copy.deepcopy(job.body)

    def patch(self, kind: Kind, scope: Scope, name: str, body: Json, query: Query) -> Json:
        """Write the fields that `body` has over those of a resource; it is checked as if it were new."""
        return self._rewrite(kind, scope, name, Act("patch", body, query.get("requestId", "")))

    def update(self, kind: Kind, scope: Scope, name: str, body: Json, query: Query) -> Json:
        """Put another in a resource's place, if the request was made from the one of now; it is checked likewise."""
        return self._rewrite(kind, scope, name, Act("update", body, query.get("requestId", "")))

    def _rewrite(self, kind: Kind, scope: Scope, name: str, call: Act) -> Json:
        with self.project.state.lock:
            again = self.operations.repeated(call.request)
            if again:
                return copy.deepcopy(again.body)
            entry = self._settled(kind, scope, name)
            whole = call.verb == "update"
            if whole and call.body.get("fingerprint") != entry.body["fingerprint"]:
                raise stale("resource")
            wanted = copy.deepcopy(entry)
            mine = {key: wanted.body[key] for key in (*_GIVEN, scope.level) if key in wanted.body}
            wanted.body = {**({} if whole else wanted.body), **copy.deepcopy(call.body), **mine}
            with understood():
                resolve_links(self.project, kind, wanted.body)
                kind.fill(self.project, wanted)
            before = Before.of(entry)
            entry.body = wanted.body
            return copy.deepcopy(self.operations.begin(call.verb, entry, request=call.request, before=before).body)

    # Labels, and a collection's own methods

    def set_labels(self, kind: Kind, scope: Scope, name: str, body: Json, query: Query) -> Json:
        """Replace a resource's labels, if the request was made from the labels of now."""
        with self.project.state.lock:
            request = query.get("requestId", "")
            again = self.operations.repeated(request)
            if again:
                return copy.deepcopy(again.body)
            entry = self._settled(kind, scope, name)
            if body.get("labelFingerprint") != entry.body["labelFingerprint"]:
                raise stale("labels")
            before = Before.of(entry)
            self._write_labels(entry.body, body.get("labels", {}))
            return copy.deepcopy(self.operations.begin("setLabels", entry, request=request, before=before).body)

    def act(self, kind: Kind, scope: Scope, name: str, call: Act) -> Json:
        """Begin one of a collection's own operations."""
        with self.project.state.lock:
            again = self.operations.repeated(call.request)
            if again:
                return copy.deepcopy(again.body)
            entry = self._settled(kind, scope, name)
            before = Before.of(entry)
            with understood():
                kind.actions[call.verb](self.project, entry, call.body)
            return copy.deepcopy(self.operations.begin(call.verb, entry, request=call.request, before=before).body)

    def read(self, kind: Kind, scope: Scope, name: str, what: str, body: Json) -> Json:
        """Answer one of a collection's own questions; it may ask the backend, so the lock is not held."""
        with self.project.state.lock:
            entry = self._entry(kind, scope, name)
        answer: Callable[[Project, Entry, Json], Json] = kind.reads[what][1]
        with understood():
            return answer(self.project, entry, body)

    def _write_labels(self, body: Json, labels: Mapping[str, str]) -> None:
        for key, value in labels.items():
            if not key or not _LABEL.fullmatch(key) or not _LABEL.fullmatch(value):
                why = "Labels are lower case letters, digits, '_' and '-', up to 63."
                raise invalid("resource.labels", f"{key}={value}", why)
        body.pop("labels", None)
        if labels:
            body["labels"] = dict(labels)
        body["labelFingerprint"] = self.project.fingerprint(labels)

    def _entry(self, kind: Kind, scope: Scope, name: str) -> Entry:
        check_place(scope.level, scope.name)
        key = f"{scope.path}/{kind.path}/{name}"
        entry = self.project.state.entries.get(key)
        if entry is None:
            raise not_found(self.project.path(key))
        return entry

    def _settled(self, kind: Kind, scope: Scope, name: str) -> Entry:
        entry = self._entry(kind, scope, name)
        if entry.deleting or not entry.ready:
            raise not_ready(self.project.path(entry.key))
        return entry

    def _view(self, kind: Kind, entry: Entry) -> Json:
        body = copy.deepcopy(entry.body)
        if kind.view:
            kind.view(self.project, entry, body)
        return body

    # Operations

    def operation(self, scope: Scope, name: str) -> Job:
        """Return an operation of this scope."""
        check_place(scope.level, scope.name)
        job = self.operations.get(scope.path, name)
        if job is None:
            raise not_found(self.project.path(f"{scope.path}/operations/{name}"))
        return job

    def operation_rows(self, scope: Scope | None) -> list[Row]:
        """Return the operations of a scope, or of all scopes."""
        with self.project.state.lock:
            jobs = [copy.deepcopy(job.body) for job in self.project.state.jobs.values()]
        rows = [(body["selfLink"].split(f"projects/{self.project.name}/")[1], body) for body in jobs]
        placed = [(path.split("/operations/")[0], body) for path, body in rows]
        return [row for row in placed if scope is None or row[0] == scope.path]

    def forget_operation(self, scope: Scope, name: str) -> None:
        """Drop an operation that has ended."""
        with self.project.state.lock:
            job = self.operation(scope, name)
            if not job.done:
                raise not_ready(self.project.path(f"{scope.path}/operations/{name}"))
            del self.project.state.jobs[name]
            self.project.state.save()


# Lists


def listing(project: str, resource: str, path: str, rows: Sequence[Row], query: Query) -> Json:
    """Return the answer to a list request; `path` is the collection's, below the project."""
    chosen, token = page(rows, query)
    answer = _list_answer(project, f"compute#{resource}List", path, token)
    if chosen:
        answer["items"] = [item for _, item in chosen]
    return answer


def aggregated(project: str, resource: str, collection: str, rows: Sequence[Row], query: Query) -> Json:
    """Return the answer to an aggregatedList request: a part for each scope, empty ones with a warning."""
    chosen, token = page(rows, query)
    answer = _list_answer(project, f"compute#{resource}AggregatedList", f"aggregated/{collection}", token)
    answer["items"] = {}
    for place in PLACES:
        items = [item for scope, item in chosen if scope == place]
        answer["items"][place] = {collection: items} if items else {"warning": _nothing(place)}
    return answer


def _list_answer(project: str, kind: str, path: str, token: str) -> Json:
    answer = {"kind": kind, "id": f"projects/{project}/{path}", "selfLink": f"{BASE}projects/{project}/{path}"}
    if token:
        answer["nextPageToken"] = token
    return answer


def _nothing(place: str) -> Json:
    return {
        "code": "NO_RESULTS_ON_PAGE",
        "message": f"There are no results for scope '{place}' on this page.",
        "data": [{"key": "scope", "value": place}],
    }
