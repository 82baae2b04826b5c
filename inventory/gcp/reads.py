"""
Reading the project: the API's own JSON over HTTPS, with the library's credentials and none of its classes.

Whatever is made, changed or removed goes through google-cloud-compute; so does a reading that is not in this table,
and every one where the environment asks for what only the library does.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import requests
import requests.adapters

from khw.inventory.gcp.kinds import KINDS
from khw.inventory.gcp.library import refusals
from khw.inventory.gcp.messages import Message, json_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

GOOGLE = "https://compute.googleapis.com"
CONNECTIONS = 48  # kept open; as many as there may be requests at once
REFUSED = 400  # HTTP's codes from here on
# Set where a connection has to be made in a way that only the library knows.
ONLY_THE_LIBRARY = ("GOOGLE_API_USE_CLIENT_CERTIFICATE", "GOOGLE_API_USE_MTLS_ENDPOINT", "GOOGLE_CLOUD_UNIVERSE_DOMAIN")


class Question(NamedTuple):
    """A reading: the HTTP method, the path below the API's version, the query."""

    verb: str
    path: str
    query: tuple[tuple[str, str], ...] = ()


_TABLE: dict[tuple[str, str], tuple[str, str]] = {
    ("RegionsClient", "get"): ("GET", "projects/{project}/regions/{region}"),
    ("ZonesClient", "get"): ("GET", "projects/{project}/zones/{zone}"),
    ("MachineTypesClient", "get"): ("GET", "projects/{project}/zones/{zone}/machineTypes/{machine_type}"),
    ("ImagesClient", "get"): ("GET", "projects/{project}/global/images/{image}"),
    ("ImagesClient", "get_from_family"): ("GET", "projects/{project}/global/images/family/{family}"),
    ("InstancesClient", "aggregated_list"): ("GET", "projects/{project}/aggregated/instances"),
    ("DisksClient", "aggregated_list"): ("GET", "projects/{project}/aggregated/disks"),
    ("ProjectsClient", "get"): ("GET", "projects/{project}"),
    ("InstancesClient", "get_guest_attributes"): (
        "GET",
        "projects/{project}/zones/{zone}/instances/{instance}/getGuestAttributes",
    ),
    ("InstanceGroupsClient", "list_instances"): (
        "POST",
        "projects/{project}/zones/{zone}/instanceGroups/{instance_group}/listInstances",
    ),
    **{(kind.client, "get"): ("GET", f"{kind.path}/{{{kind.field}}}") for kind in KINDS},
    **{(kind.client, "list"): ("GET", kind.path) for kind in KINDS},
}

# Readings that come in pages, and how what a page holds is given, as the library's pagers give it.
_PAGES: dict[str, Callable[[dict[str, Any]], Iterator[Any]]] = {
    "list": lambda page: (Message(item) for item in page.get("items", ())),
    "list_instances": lambda page: (Message(item) for item in page.get("items", ())),
    "aggregated_list": lambda page: ((scope, Message(found)) for scope, found in page.get("items", {}).items()),
}


def question(client: str, method: str, request: Mapping[str, Any]) -> Question | None:
    """Return the reading that a method of a client is; None if the library has to be asked."""
    row = _TABLE.get((client, method))
    if row is None or any(os.environ.get(name) for name in ONLY_THE_LIBRARY):
        return None
    verb, path = row
    left = {json_name(name): str(value) for name, value in request.items() if f"{{{name}}}" not in path}
    return Question(verb, path.format(**request), tuple(sorted(left.items())))


class Reader:
    """Asks one project's API; `credentials` are None where it takes none."""

    def __init__(self, endpoint: str | None, credentials: Callable[[], Any | None], timeout: float) -> None:
        base = endpoint or GOOGLE
        self._base = f"{base if '://' in base else f'https://{base}'}/compute/v1/"
        self._credentials = credentials
        self._timeout = timeout
        self._session: requests.Session | None = None
        self._lock = threading.Lock()

    def read(self, asked: Question, method: str) -> Any:
        """Return a message, or for a list what is in all its pages; GoogleAPICallError if the API refuses."""
        if method not in _PAGES:
            return Message(self._answer(asked))
        return list(self._all(asked, _PAGES[method]))

    def _all(self, asked: Question, rows: Callable[[dict[str, Any]], Iterator[Any]]) -> Iterator[Any]:
        page = self._answer(asked)
        yield from rows(page)
        while token := page.get("nextPageToken"):
            page = self._answer(asked._replace(query=(*asked.query, ("pageToken", token))))
            yield from rows(page)

    def _answer(self, asked: Question) -> dict[str, Any]:
        response = self.log_in().request(
            asked.verb,
            self._base + asked.path,
            params=list(asked.query),
            json={} if asked.verb == "POST" else None,  # of listInstances, which could say which: all
            timeout=self._timeout,
        )
        if response.status_code >= REFUSED:
            raise refusals.from_http_response(response)  # type: ignore[no-untyped-call]  # api_core has no types
        try:
            answer = response.json()
        except requests.exceptions.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise refusals.BadGateway("the answer is no JSON object")  # type: ignore[no-untyped-call]  # as above
        return answer

    def log_in(self) -> requests.Session:
        """Return the session, its credentials good for use: they are asked for once, by whoever comes first."""
        with self._lock:
            if self._session is None:
                self._session = _session(self._credentials())
            return self._session


def _session(credentials: Any | None) -> requests.Session:
    if credentials is None:
        session = requests.Session()
    else:
        from google.auth.transport.requests import AuthorizedSession, Request

        if not credentials.valid:
            credentials.refresh(Request())
        session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]  # google.auth has no types
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
