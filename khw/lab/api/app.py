"""
The HTTP side: Google's paths, methods and JSON, in front of the service.

Paths are made from the descriptions of the collections; only what is fixed (zones, images, …) and operations
have paths of their own here.
"""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from khw.errors import LabError
from khw.lab.api import catalog, rights
from khw.lab.api.baddays import Cut, control, method_id, unanswered
from khw.lab.api.description import understood_request
from khw.lab.api.links import Scope
from khw.lab.api.problems import ApiError, not_found
from khw.lab.api.service import Act, aggregated, listing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from starlette.requests import Request

    from khw.lab.api.faults import Fault
    from khw.lab.api.kind import Kind
    from khw.lab.api.links import Level
    from khw.lab.api.service import Service

    Json = dict[str, Any]
    Answer = Callable[["Call"], Json]
    Endpoint = Callable[[Request], Awaitable[Response]]

log = logging.getLogger(__name__)

ROOT = "/compute/v1/projects/{project}"
_BELOW: Mapping[Level, str] = {"global": "/global", "region": "/regions/{region}", "zone": "/zones/{zone}"}


class Call:
    """A request, read: where, what, and with what."""

    def __init__(self, request: Request, body: Json) -> None:
        self.parts: Mapping[str, str] = request.path_params
        self.query: Mapping[str, str] = request.query_params
        self.body = body
        self.name = self.parts.get("name", "")

    @property
    def scope(self) -> Scope:
        """Return the scope that the path names."""
        if "zone" in self.parts:
            return Scope("zone", self.parts["zone"])
        if "region" in self.parts:
            return Scope("region", self.parts["region"])
        return Scope("global")


class Routes:
    """Every path of the API, on a service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._project = service.project.name
        self._faults = service.project.faults

    def all(self) -> Iterator[Route]:
        """Return the routes; those with a fixed last part come before those with a name there."""
        yield Route(ROOT, self._endpoint(lambda _: catalog.describe_project(self._service.project)))
        for kind in self._service.project.kinds.values():
            yield from self._of_kind(kind)
        yield from self._fixed()
        yield from self._operations()
        yield Route(rights.PATH, self._held, methods=["POST"])

    # Collections

    def _of_kind(self, kind: Kind) -> Iterator[Route]:
        service = self._service
        base = f"{ROOT}{_BELOW[kind.level]}/{kind.path}"
        if kind.aggregated:
            path = f"{ROOT}/aggregated/{kind.path}"
            yield Route(path, self._endpoint(partial(self._aggregated, kind)))
        yield Route(base, self._endpoint(partial(self._list, kind)))
        yield self._post(base, lambda c: service.insert(kind, c.scope, c.body, c.query))
        yield Route(f"{base}/{{name}}", self._endpoint(lambda c: service.get(kind, c.scope, c.name)))
        drop = self._endpoint(lambda c: service.delete(kind, c.scope, c.name, c.query))
        yield Route(f"{base}/{{name}}", drop, methods=["DELETE"])
        if kind.patched:
            patch = self._endpoint(lambda c: service.patch(kind, c.scope, c.name, c.body, c.query))
            yield Route(f"{base}/{{name}}", patch, methods=["PATCH"])
        if kind.replaced:
            put = self._endpoint(lambda c: service.update(kind, c.scope, c.name, c.body, c.query))
            yield Route(f"{base}/{{name}}", put, methods=["PUT"])
        if kind.labels:
            labels = f"{base}/{{name}}/setLabels"
            yield self._post(labels, lambda c: service.set_labels(kind, c.scope, c.name, c.body, c.query))
        for verb in kind.actions:
            act = self._endpoint(partial(self._act, kind, verb), bodiless=verb in kind.bodiless)
            yield Route(f"{base}/{{name}}/{verb}", act, methods=["POST"])
        for what, (method, _) in kind.reads.items():
            read = self._endpoint(partial(self._read, kind, what))
            yield Route(f"{base}/{{name}}/{what}", read, methods=[method])

    def _post(self, path: str, answer: Answer) -> Route:
        return Route(path, self._endpoint(answer), methods=["POST"])

    def _act(self, kind: Kind, verb: str, call: Call) -> Json:
        return self._service.act(kind, call.scope, call.name, Act(verb, call.body, call.query.get("requestId", "")))

    def _read(self, kind: Kind, what: str, call: Call) -> Json:
        return self._service.read(kind, call.scope, call.name, what, {**call.query, **call.body})

    def _list(self, kind: Kind, call: Call) -> Json:
        rows = self._service.rows(kind, call.scope)
        path = f"{call.scope.path}/{kind.path}"
        rows = self._faults.as_listed(f"{kind.collection}.list", kind.collection, call.scope.path, rows)
        return listing(self._project, kind.resource, path, rows, call.query)

    def _aggregated(self, kind: Kind, call: Call) -> Json:
        rows = self._service.rows(kind)
        rows = self._faults.as_listed(f"{kind.collection}.aggregatedList", kind.collection, None, rows)
        return aggregated(self._project, kind.resource, kind.path, rows, call.query)

    # What is fixed

    def _fixed(self) -> Iterator[Route]:
        zone = _BELOW["zone"]
        fixed: tuple[tuple[str, str, Callable[..., list[Json]]], ...] = (
            ("zone", "/zones", catalog.zones),
            ("region", "/regions", catalog.regions),
            ("machineType", f"{zone}/machineTypes", catalog.machine_types),
            ("diskType", f"{zone}/diskTypes", catalog.disk_types),
            ("image", "/global/images", lambda *_: []),  # a project's own: it has none
        )
        yield Route(f"{ROOT}/aggregated/machineTypes", self._endpoint(self._aggregated_types))
        for resource, path, rows in fixed:
            listed = partial(self._list_fixed, resource, rows)
            yield Route(f"{ROOT}{path}", self._endpoint(listed))
            yield Route(f"{ROOT}{path}/{{name}}", self._endpoint(partial(self._get_fixed, rows)))
        yield from self._images()

    def _list_fixed(self, resource: str, rows: Callable[..., list[Json]], call: Call) -> Json:
        catalog.check_place(call.scope.level, call.scope.name)
        items = [("", item) for item in rows(self._service.project, call.scope.path)]
        return listing(self._project, resource, f"{call.scope.path}/{resource}s", items, call.query)

    def _get_fixed(self, rows: Callable[..., list[Json]], call: Call) -> Json:
        catalog.check_place(call.scope.level, call.scope.name)
        for item in rows(self._service.project, call.scope.path):
            if item["name"] == call.name:
                return item
        where = "" if call.scope.level == "global" else f"{call.scope.path}/"
        raise not_found(self._service.project.path(f"{where}{call.name}"))

    def _aggregated_types(self, call: Call) -> Json:
        scopes = [f"zones/{zone}" for zone in catalog.ZONES]
        rows = [(s, item) for s in scopes for item in catalog.machine_types(self._service.project, s)]
        return aggregated(self._project, "machineType", "machineTypes", rows, call.query)

    def _images(self) -> Iterator[Route]:
        """Return the paths of the public images, which are another project's."""
        base = ROOT.replace("{project}", catalog.IMAGE_PROJECT) + "/global/images"

        def listed(call: Call) -> Json:
            rows = [("", image) for image in catalog.images()]
            return listing(catalog.IMAGE_PROJECT, "image", "global/images", rows, call.query)

        def one(call: Call) -> Json:
            return catalog.find_image(f"{base[12:]}/{call.name}", self._service.project, "image")

        family = self._endpoint(lambda call: catalog.image_from_family(call.name), public=True)
        yield Route(base, self._endpoint(listed, public=True))
        yield Route(f"{base}/family/{{name}}", family)
        yield Route(f"{base}/{{name}}", self._endpoint(one, public=True))

    # Operations

    def _operations(self) -> Iterator[Route]:
        service = self._service

        def forget(call: Call) -> Json:
            service.forget_operation(call.scope, call.name)
            return {}  # Google's client reads it as JSON: nothing at all is an error to it

        def every(call: Call) -> Json:
            rows = service.operation_rows(None)
            return aggregated(self._project, "operation", "operations", rows, call.query)

        def listed(call: Call) -> Json:
            catalog.check_place(call.scope.level, call.scope.name)
            rows = service.operation_rows(call.scope)
            return listing(self._project, "operation", f"{call.scope.path}/operations", rows, call.query)

        yield Route(f"{ROOT}/aggregated/operations", self._endpoint(every))
        for below in _BELOW.values():
            base = f"{ROOT}{below}/operations"
            get = self._endpoint(lambda c: dict(service.operation(c.scope, c.name).body))
            yield Route(base, self._endpoint(listed))
            yield Route(f"{base}/{{name}}", get)
            yield Route(f"{base}/{{name}}", self._endpoint(forget), methods=["DELETE"])
            yield Route(f"{base}/{{name}}/wait", self._wait, methods=["POST"])

    async def _wait(self, request: Request) -> Response:
        call = Call(request, {})
        self._check_project(call)
        if fault := self._fault(request, call):
            return await unanswered(request, fault)
        job = self._service.operation(call.scope, call.name)
        await self._service.operations.wait(job.name)
        return JSONResponse(dict(job.body))

    # Rights

    async def _held(self, request: Request) -> Response:
        call = Call(request, _read_body(await request.body()))
        self._check_project(call)
        return JSONResponse(rights.held(self._service.project, call.body))

    # Requests

    def _endpoint(self, answer: Answer, *, public: bool = False, bodiless: bool = False) -> Endpoint:
        """
        Return what reads a request, answers it in a worker thread, and writes the answer.

        Of a `bodiless` method nobody reads the body: some clients send an empty text.
        """

        async def respond(request: Request) -> Response:
            call = Call(request, {} if bodiless else _read_body(await request.body()))
            if not public:
                self._check_project(call)
            fault = self._fault(request, call)
            if fault and fault.sort != "lost-answer":
                return await unanswered(request, fault)
            method = method_id(request.method, request.url.path)
            rights.require(self._service.project, method, call.name)
            if request.method in {"POST", "PUT", "PATCH"} and not bodiless:
                call.body = understood_request(method, call.body, call.query)
            result = await run_in_threadpool(answer, call)
            return Cut() if fault else JSONResponse(result)

        return respond

    def _fault(self, request: Request, call: Call) -> Fault | None:
        name = call.name or str(call.body.get("name", ""))
        return self._faults.meet("request", method_id(request.method, request.url.path), name)

    def _check_project(self, call: Call) -> None:
        if call.parts["project"] != self._project:
            raise not_found(f"projects/{call.parts['project']}")


def _read_body(data: bytes) -> Json:
    if not data:
        return {}
    try:
        body = json.loads(data)
    except ValueError as error:
        raise ApiError(400, "parseError", "Parse Error") from error
    if not isinstance(body, dict):
        raise ApiError(400, "parseError", "The request's body has to be a JSON object.")
    return {key: _without_nulls(part) for key, part in body.items() if part is not None}


def _without_nulls(value: Any) -> Any:
    """Take a field that is null for one that is not there, as Google does: some clients send all that they know."""
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value


async def _refuse(_request: Request, error: Exception) -> Response:
    message = str(error) if isinstance(error, LabError) else "Internal error."
    problem = error if isinstance(error, ApiError) else ApiError(500, "backendError", message)
    return JSONResponse(problem.body(), status_code=problem.status, headers=problem.headers)


async def _no_such_path(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    reason = "httpMethodNotAllowed" if status == 405 else "notFound"
    problem = ApiError(status, reason, f"The lab does not serve {request.method} {request.url.path}")
    return JSONResponse(problem.body(), status_code=status)


def application(service: Service) -> Starlette:
    """Return the ASGI application."""
    handlers: dict[Any, Any] = {ApiError: _refuse, LabError: _refuse, HTTPException: _no_such_path, Exception: _refuse}
    routes = sorted(Routes(service).all(), key=lambda route: "{project}" in route.path)
    routes += control(service.project.faults)
    return Starlette(routes=routes, exception_handlers=handlers)
