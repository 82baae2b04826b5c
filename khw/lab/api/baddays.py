"""
The HTTP side of faults: what a client meets instead of an answer, and the lab's own path to ask for it.

`/lab/v1/faults` is beside the Compute API, not in it, and on the lab's loopback address like all else.
GET lists, POST adds (`{"sort": …, "on": …, "name": …, "times": …, "seconds": …}`), DELETE forgets all.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from khw.lab.api.faults import PATH
from khw.lab.api.problems import ApiError, invalid

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from khw.lab.api.faults import Fault, Faults

_REGIONAL = {"healthChecks": "regionHealthChecks", "backendServices": "regionBackendServices"}
_VERBS = {"POST": "insert", "DELETE": "delete", "GET": "get", "PATCH": "patch", "PUT": "update"}
_PAGE = "<!DOCTYPE html><html><head><title>502 Server Error</title></head><body>502. That's an error.</body></html>"


def method_id(verb: str, path: str) -> str:
    """Return what Google calls a request's method, from its path: instances.insert, zoneOperations.wait."""
    below = path.split("/projects/", 1)[-1].split("/")[1:]  # less the project's name
    if below and below[0] in {"zones", "regions"} and len(below) > 2:
        level, below = below[0].removesuffix("s"), below[2:]
    else:
        level, below = "global", below[1:] if below and below[0] in {"global", "aggregated"} else below
    if not below:
        return "projects.get"
    collection = below[0]
    if collection == "operations":
        collection = f"{level}Operations"
    elif level == "region":
        collection = _REGIONAL.get(collection, collection)
    if len(below) == 1:
        listed = "aggregatedList" if "/aggregated/" in path else "list"
        return f"{collection}.{listed if verb == 'GET' else _VERBS[verb]}"
    return f"{collection}.{below[2] if len(below) > 2 else _VERBS.get(verb, verb)}"


class Cut(Response):
    """An answer that breaks off: the connection ends in the middle of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Promise more than comes; the server then closes the connection."""
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"kind": ', "more_body": True})
        raise ConnectionAbortedError("a fault was asked for: this answer breaks off")


async def unanswered(request: Request, fault: Fault) -> Response:
    """Return what a client meets where nothing is done for it."""
    if fault.sort == "silence":
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(fault.seconds):
                while (await request.receive())["type"] != "http.disconnect":
                    pass
        return Cut()
    if fault.sort == "bad-gateway":
        return HTMLResponse(_PAGE, status_code=502)
    raise fault.refusal()


def control(faults: Faults) -> list[Route]:
    """Return the lab's own path."""

    async def respond(request: Request) -> Response:
        if request.method == "DELETE":
            faults.clear()
        elif request.method == "POST":
            given = await _given(request)
            return JSONResponse(faults.add(**given).as_json())
        return JSONResponse({"faults": [row.as_json() for row in faults.rows()]})

    return [Route(PATH, respond, methods=["GET", "POST", "DELETE"])]


async def _given(request: Request) -> dict[str, Any]:
    try:
        given = json.loads(await request.body())
    except ValueError as error:
        raise ApiError(400, "parseError", "Parse Error") from error
    if not isinstance(given, dict) or not isinstance(given.get("sort"), str):
        raise invalid("sort", given, "A fault has a sort.")
    return given
