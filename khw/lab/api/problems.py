"""What the API answers when it says no, in Google's shape and with Google's reasons."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)


class ApiError(Exception):
    """A refusal: HTTP status, Google's reason and its domain, and a message that names the thing."""

    def __init__(
        self, status: int, reason: str, message: str, *, domain: str = "global", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.domain = domain
        self.headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}

    def body(self) -> dict[str, Any]:
        """Return the answer's JSON, as googleapis write it."""
        detail = {"message": self.message, "domain": self.domain, "reason": self.reason}
        return {"error": {"code": self.status, "message": self.message, "errors": [detail]}}


class MalformedError(ApiError):
    """A request that is none of the API's, as the front end of all of Google's APIs refuses it; `field` is where."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(400, "badRequest", message)
        self.field = field

    def body(self) -> dict[str, Any]:
        """Return the answer's JSON, with what that front end says beside it."""
        violation = {"field": self.field, "description": self.message}
        details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]
        error = super().body()["error"]
        return {"error": {**error, "status": "INVALID_ARGUMENT", "details": details}}


class OperationError(Exception):
    """An operation ends in an error: Google accepts the request and says no later. `code` is Google's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@contextmanager
def understood() -> Iterator[None]:
    """Refuse what is of another shape than the API's, where the code below meets it."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        log.exception("not understood")
        raise ApiError(400, "invalid", f"Invalid JSON payload received: {error!r}") from error


def not_found(path: str) -> ApiError:
    """Return the refusal for a resource that does not exist; `path` starts with projects/."""
    return ApiError(404, "notFound", f"The resource '{path}' was not found")


def already_exists(path: str) -> ApiError:
    """Return the refusal for a name that is taken."""
    return ApiError(409, "alreadyExists", f"The resource '{path}' already exists")


def not_ready(path: str) -> ApiError:
    """Return the refusal for a resource whose insert or delete is still going on."""
    return ApiError(400, "resourceNotReady", f"The resource '{path}' is not ready")


def in_use(kind: str, path: str, user: str) -> ApiError:
    """Return the refusal to delete what something else stands on."""
    message = f"The {kind} resource '{path}' is already being used by '{user}'"
    return ApiError(400, "resourceInUseByAnotherResource", message)


def invalid(field: str, value: object, why: str) -> ApiError:
    """Return the refusal of a field's value."""
    return ApiError(400, "invalid", f"Invalid value for field '{field}': '{value}'. {why}")


def required(field: str) -> ApiError:
    """Return the refusal of a request that leaves out a field."""
    return ApiError(400, "required", f"Required field '{field}' not specified")


def stale(what: str) -> ApiError:
    """Return the refusal of a change that was made from an older version of the resource."""
    message = f"Supplied fingerprint does not match current {what} fingerprint."
    return ApiError(412, "conditionNotMet", message)
