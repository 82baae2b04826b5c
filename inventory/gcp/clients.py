"""
The project's API, asked one way, on its endpoint and with its credentials.

What is made, changed or removed goes through google-cloud-compute, a client for each kind; what is only looked at
comes without it (`khw.inventory.gcp.reads`), by the same names.
"""

from __future__ import annotations

import threading
import uuid
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from khw.inventory.gcp.ahead import Ahead, Reading
from khw.inventory.gcp.errors import explain, explained, is_project_missing
from khw.inventory.gcp.kinds import INSTANCE, Kind
from khw.inventory.gcp.library import compute_v1, refusals
from khw.inventory.gcp.messages import Message as Written
from khw.inventory.gcp.patience import Patience
from khw.inventory.gcp.reads import Reader, question

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from khw.cluster.spec import Gcp

# The library's messages are made at run time, and ours have its names: no types that a checker can see.
Message = Any

# What khw does, and to ask which rights it has (rights.py); an account with more rights is held to these.
SCOPES = (
    "https://www.googleapis.com/auth/compute",
    "https://www.googleapis.com/auth/cloud-platform.read-only",
)
ANY = ("https://www.googleapis.com/auth/cloud-platform",)  # to act as another account takes this one
REQUEST_TIMEOUT = 60.0


class Api:
    """
    The Compute Engine API of one project: Google's, or whatever answers at the cluster file's endpoint.

    Only the `*_unary` methods are used: the others wait with a client for Google's own endpoint, whatever the
    endpoint is. Waiting is `khw.inventory.gcp.operations`.
    """

    def __init__(self, gcp: Gcp, *, timeout: float) -> None:
        self.gcp = gcp
        self.timeout = timeout
        self.request_timeout = min(REQUEST_TIMEOUT, timeout)
        self.stopped = threading.Event()  # Ctrl-C: nothing waits any more
        self.patience = Patience(timeout, self.stopped)
        self._clients: dict[str, Any] = {}
        self._credentials: Any = None
        self._lock = threading.RLock()
        self._reader = Reader(gcp.endpoint, self._read_as, self.request_timeout)
        self._ahead = Ahead(self._reader.log_in, self._ask)

    def client(self, name: str) -> Any:
        """Return the client of this class name, made at first use."""
        with self._lock:
            if name not in self._clients:
                self._clients[name] = getattr(compute_v1, name)(
                    credentials=self._login(), client_options=self._options()
                )
            return self._clients[name]

    def _login(self) -> Any:
        with self._lock:
            if self._credentials is None:
                self._credentials = self._found()
            return self._credentials

    def _found(self) -> Any:
        if self.gcp.credentials == "anonymous":
            from google.auth.credentials import AnonymousCredentials

            return AnonymousCredentials()  # type: ignore[no-untyped-call]  # google.auth has no types
        with explained("logging in", self.gcp):
            return _log_in(self.gcp)

    def _read_as(self) -> Any | None:
        return None if self.gcp.credentials == "anonymous" else self._login()

    def _options(self) -> dict[str, str]:
        return {"api_endpoint": self.gcp.endpoint} if self.gcp.endpoint else {}

    def place(self, kind: Kind, zone: str = "") -> dict[str, str]:
        """Return the request fields that say where a resource of this kind is."""
        where = {"project": self.gcp.project}
        if kind.scope == "region":
            where["region"] = self.gcp.region
        elif kind.scope == "zone":
            where["zone"] = zone or self.gcp.zone
        return where

    def link(self, kind: Kind, name: str, zone: str = "") -> str:
        """Return the partial link to a resource of this project."""
        return f"{kind.path.format(**self.place(kind, zone))}/{name}"

    def get(self, kind: Kind, name: str, zone: str = "") -> Message | None:
        """Return the resource, or None if there is none of this name."""
        request = {**self.place(kind, zone), kind.field: name}
        with explained(f"looking for {kind.name} {name}", self.gcp):
            try:
                return self.read(kind.client, "get", request)
            except refusals.NotFound as error:
                if is_project_missing(error, self.gcp.project):
                    raise explain(f"looking for {kind.name} {name}", error, self.gcp) from None
                return None

    def list(self, kind: Kind, zone: str = "") -> Sequence[Message]:
        """Return all resources of this kind in the project's region, zone or in all of it, by name."""
        with explained(f"listing {kind.name}s", self.gcp):
            found = self.read(kind.client, "list", self.place(kind, zone))
            return sorted(found, key=lambda item: str(item.name))

    def labelled(self, label: str, value: str, kind: Kind = INSTANCE) -> Sequence[Message]:
        """Return the instances (or those of another kind) with this label, in every zone, by name."""
        with explained(f"listing {kind.name}s", self.gcp):
            scopes = self.read(*self.labelled_reading(label, value, kind))
            found = [item for _, scope in scopes for item in getattr(scope, f"{kind.name}s")]
        return sorted((i for i in found if i.labels.get(label) == value), key=lambda item: str(item.name))

    def labelled_reading(self, label: str, value: str, kind: Kind = INSTANCE) -> tuple[str, str, dict[str, str]]:
        """Return what `labelled` asks."""
        request = {"project": self.gcp.project, "filter": f"labels.{label}={value}"}
        return kind.client, "aggregated_list", request

    def ask(self, client: str, method: str, doing: str, request: Mapping[str, Any]) -> Message:
        """Ask something that only reads."""
        with explained(doing, self.gcp):
            return self.read(client, method, request)

    def start(self, client: str, method: str, request: Mapping[str, Any]) -> Message:
        """
        Start an operation (a `*_unary` method) and return it, not yet done; the caller explains errors.

        The request has an id, by which Google knows it again: where an answer is lost it is asked once more, and
        nothing is made twice.
        """
        self._ahead.forget()
        known = {"request_id": str(uuid.uuid4()), **request}
        known = {name: part.whole() if isinstance(part, Written) else part for name, part in known.items()}
        return self.patience.ask(partial(self._call, client, method, known))

    def expect(self, readings: Iterable[tuple[str, str, Mapping[str, Any]]]) -> None:
        """Begin what will be asked soon; one that is there more often will be asked as often."""
        self._ahead.begin(Reading.of(*reading) for reading in readings)

    @contextmanager
    def expecting(self, readings: Iterable[tuple[str, str, Mapping[str, Any]]]) -> Iterator[None]:
        """Begin what will be asked within the block, unless it is begun already; what is left of it is dropped."""
        rows = [Reading.of(*reading) for reading in readings]
        self._ahead.begin(rows)
        try:
            yield
        finally:
            self._ahead.drop(rows)

    def read(self, client: str, method: str, request: Mapping[str, Any]) -> Any:
        """Ask something that may be asked again, a list to its last page; the caller explains errors."""
        begun = self._ahead.take(client, method, request)
        return begun.result() if begun else self._ask(client, method, request)

    def _ask(self, client: str, method: str, request: Mapping[str, Any]) -> Any:
        asked = question(client, method, request)
        if asked is not None:
            return self.patience.ask(partial(self._reader.read, asked, method))
        paged = method.endswith("list")
        return self.patience.ask(lambda: (list if paged else _same)(self._call(client, method, request)))

    def beside(self, service: str, path: str, body: Mapping[str, Any]) -> Any:
        """Ask another of Google's services, which the lab's endpoint has too; the caller explains errors."""
        base = self.gcp.endpoint or f"https://{service}.googleapis.com"

        def ask() -> Any:
            answer = self._reader.log_in().post(f"{base}/{path}", json=body, timeout=self.request_timeout)
            if answer.status_code >= 400:
                raise refusals.from_http_response(answer)  # type: ignore[no-untyped-call]  # api_core has no types
            return answer.json()

        return self.patience.ask(ask)

    def _call(self, client: str, method: str, request: Mapping[str, Any]) -> Any:
        ask = getattr(self.client(client), method)
        return ask(request=dict(request), timeout=self.request_timeout, retry=None)


def _same(answer: Any) -> Any:
    return answer


def _log_in(gcp: Gcp) -> Any:
    """Return the application default credentials, or those of the account that they are to act as."""
    import google.auth

    if gcp.impersonate is None:
        return google.auth.default(scopes=SCOPES, quota_project_id=gcp.quota_project)[0]
    from google.auth.impersonated_credentials import Credentials

    source, _ = google.auth.default(scopes=ANY)
    return Credentials(  # type: ignore[no-untyped-call]  # google.auth has no types
        source_credentials=source,
        target_principal=gcp.impersonate,
        target_scopes=list(SCOPES),
        quota_project_id=gcp.quota_project,
    )
