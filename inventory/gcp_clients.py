"""google-cloud-compute, asked one way: a client for each kind, on the project's endpoint, with its credentials."""

from __future__ import annotations

import threading
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import google.auth
from google.api_core import exceptions as refusals
from google.auth.credentials import AnonymousCredentials

from khw.inventory.gcp_errors import explain, explained, is_project_missing
from khw.inventory.gcp_kinds import INSTANCE, Kind
from khw.inventory.gcp_library import compute_v1
from khw.inventory.gcp_patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from khw.cluster.model import Gcp

# Messages of compute_v1 are made at run time: their fields have no types that a checker can see.
Message = Any

SCOPES = ("https://www.googleapis.com/auth/compute",)
REQUEST_TIMEOUT = 60.0


class Api:
    """
    The Compute Engine API of one project: Google's, or whatever answers at the cluster file's endpoint.

    Only the `*_unary` methods are used: the others wait with a client for Google's own endpoint, whatever the
    endpoint is. Waiting is `khw.inventory.gcp_operations`.
    """

    def __init__(self, gcp: Gcp, *, timeout: float) -> None:
        self.gcp = gcp
        self.timeout = timeout
        self.request_timeout = min(REQUEST_TIMEOUT, timeout)
        self.stopped = threading.Event()  # Ctrl-C: nothing waits any more
        self.patience = Patience(timeout, self.stopped)
        self._clients: dict[str, Any] = {}
        self._credentials: Any = None
        self._lock = threading.Lock()

    def client(self, name: str) -> Any:
        """Return the client of this class name, made at first use."""
        with self._lock:
            if name not in self._clients:
                self._clients[name] = getattr(compute_v1, name)(
                    credentials=self._login(), client_options=self._options()
                )
            return self._clients[name]

    def _login(self) -> Any:
        if self._credentials is None:
            if self.gcp.credentials == "anonymous":
                self._credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]  # google.auth has no types
            else:
                with explained("logging in", self.gcp):
                    self._credentials, _ = google.auth.default(scopes=SCOPES)
        return self._credentials

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
        plural = kind.client.removeprefix("Region").removesuffix("Client")
        collection = plural[0].lower() + plural[1:]
        scope = {
            "global": "global",
            "region": f"regions/{self.gcp.region}",
            "zone": f"zones/{zone or self.gcp.zone}",
        }[kind.scope]
        return f"projects/{self.gcp.project}/{scope}/{collection}/{name}"

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
            pages = self.read(kind.client, "list", self.place(kind, zone), whole=list)
            return sorted(pages, key=lambda item: str(item.name))

    def labelled(self, label: str, value: str) -> Sequence[Message]:
        """Return the instances with this label, in every zone, by name."""
        request = {"project": self.gcp.project, "filter": f"labels.{label}={value}"}
        with explained("listing instances", self.gcp):
            scopes = self.read(INSTANCE.client, "aggregated_list", request, whole=list)
            found = [item for _, scope in scopes for item in scope.instances]
        return sorted((i for i in found if i.labels.get(label) == value), key=lambda item: str(item.name))

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
        known = {"request_id": str(uuid.uuid4()), **request}
        return self.patience.ask(partial(self._call, client, method, known))

    def read(
        self, client: str, method: str, request: Mapping[str, Any], whole: Callable[[Any], Any] = lambda answer: answer
    ) -> Any:
        """
        Ask something that may be asked again; the caller explains errors.

        `whole` reads all pages of a list, which are requests too.
        """
        return self.patience.ask(lambda: whole(self._call(client, method, request)))

    def _call(self, client: str, method: str, request: Mapping[str, Any]) -> Any:
        ask = getattr(self.client(client), method)
        return ask(request=dict(request), timeout=self.request_timeout, retry=None)
