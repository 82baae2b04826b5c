"""Faults of a lab's API, as the command line asks for them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from khw.errors import LabError, UsageError
from khw.lab.api.faults import PATH
from khw.lab.lab import endpoint_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 10.0


def add(lab: str, fault: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for a fault, and return it as the lab took it."""
    return _ask(lab, "POST", fault)


def every(lab: str) -> list[dict[str, Any]]:
    """Return the faults that were asked for."""
    rows: list[dict[str, Any]] = _ask(lab, "GET")["faults"]
    return rows


def clear(lab: str) -> None:
    """Forget all faults."""
    _ask(lab, "DELETE")


def _ask(lab: str, method: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    endpoint = endpoint_of(lab)
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(endpoint + PATH, data=data, method=method)  # noqa: S310 - the lab's own, http
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback: no proxy has a say
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        raise UsageError(json.load(error)["error"]["message"], hint="khw lab fault sorts") from None
    except (OSError, ValueError) as error:
        raise LabError(
            f"the API of lab {lab} does not answer at {endpoint}: {error}", hint="khw lab status; khw lab up"
        ) from None
