"""What Google says when it refuses, in khw's words: the thing, what was seen, and the way out."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import requests.exceptions
from google.auth import exceptions as auth

from khw.errors import CredentialsError, ProviderError
from khw.inventory.gcp.library import refusals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.cluster.spec import Gcp

LOGIN = "`gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"

MORE_QUOTA = "ask for more quota (console: IAM & Admin, Quotas), or make the cluster smaller"

# What stands for 'nothing answers there', from each layer that can say so.
UNANSWERED = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,  # the connection broke in the middle of an answer
    auth.TransportError,
)


@contextmanager
def explained(doing: str, gcp: Gcp) -> Iterator[None]:
    """Turn every way in which a request can fail into a ProviderError that says what khw was `doing`."""
    try:
        yield
    except refusals.GoogleAPICallError as error:
        raise explain(doing, error, gcp) from None
    except auth.DefaultCredentialsError:
        raise CredentialsError(f"{doing}: no credentials for Google Cloud were found", hint=LOGIN) from None
    except auth.RefreshError as error:
        raise CredentialsError(
            f"{doing}: the credentials for Google Cloud were refused: {_first_line(error)}", hint=_way_in(gcp)
        ) from None
    except UNANSWERED as error:
        raise unanswered(doing, gcp, error) from None
    except auth.GoogleAuthError as error:
        raise CredentialsError(f"{doing}: {_first_line(error)}", hint=LOGIN) from None
    except refusals.GoogleAPIError as error:
        raise ProviderError(f"{doing}: {_first_line(error)}", hint="run khw again; it takes up where it was") from None


def _way_in(gcp: Gcp) -> str:
    if gcp.impersonate is None:
        return LOGIN
    return (
        f"to act as {gcp.impersonate} takes roles/iam.serviceAccountTokenCreator on it, and the IAM Service Account "
        "Credentials API (`gcloud services enable iamcredentials.googleapis.com`); or the login itself is too old: "
        f"{LOGIN}"
    )


def unanswered(doing: str, gcp: Gcp, error: Exception) -> ProviderError:
    """Return the error for an API that does not answer at all."""
    late = isinstance(error, requests.exceptions.Timeout)
    broken = isinstance(error, requests.exceptions.ChunkedEncodingError) or "aborted" in str(error)
    what = "did not answer in time" if late else "breaks off its answers" if broken else "does not answer"
    if gcp.endpoint:
        hint = "`khw lab status` if it is the lab's (`khw lab up` starts it); else see gcp.endpoint in the cluster file"
        return ProviderError(f"{doing}: the API at {gcp.endpoint} {what}", hint=hint)
    return ProviderError(
        f"{doing}: the Compute Engine API {what}: {_first_line(error)}",
        hint="`curl -I https://compute.googleapis.com` shows whether this machine reaches Google",
    )


def explain(doing: str, error: refusals.GoogleAPICallError, gcp: Gcp) -> ProviderError:
    """Return the error for a request that the API refused."""
    said, reason = spoken(error)
    if is_project_missing(error, gcp.project):
        return ProviderError(
            f"{doing}: project {gcp.project} does not exist, or these credentials may not see it",
            hint="`gcloud projects list` shows yours; the cluster file names it in gcp.project",
        )
    if isinstance(error, refusals.Unauthorized):
        return CredentialsError(f"{doing}: Google took no credentials: {said}", hint=LOGIN)
    if isinstance(error, refusals.Forbidden):
        return _forbidden(doing, said, reason, gcp)
    if isinstance(error, refusals.TooManyRequests):
        return _throttled(doing, said)
    return _refused(doing, said, reason, error.code or 0)


def _refused(doing: str, said: str, reason: str, code: int) -> ProviderError:
    if code >= 500:
        return ProviderError(f"{doing}: the API failed: {said}", hint="run khw again; it takes up where it was")
    if reason == "resourceInUseByAnotherResource":
        return ProviderError(f"{doing}: {said}", hint="remove what uses it, which khw did not make, and run this again")
    return ProviderError(f"{doing}: {said}" + (f" ({reason})" if reason else ""))


def _forbidden(doing: str, said: str, reason: str, gcp: Gcp) -> ProviderError:
    if _says_disabled(said, reason):
        return ProviderError(
            f"{doing}: the Compute Engine API is not enabled in project {gcp.project}",
            hint=f"`gcloud services enable compute.googleapis.com --project {gcp.project}`",
        )
    if "ratelimit" in reason.lower():
        return _throttled(doing, said)
    if "quota" in reason.lower():
        return ProviderError(f"{doing}: {said} ({reason})", hint=MORE_QUOTA)
    return CredentialsError(
        f"{doing}: these credentials do not give the right: {said}",
        hint=f"they need roles/compute.admin on project {gcp.project}",
    )


def is_disabled(error: refusals.GoogleAPICallError) -> bool:
    """Say whether a refusal is about a service that is not enabled in the project."""
    return _says_disabled(*spoken(error))


def _says_disabled(said: str, reason: str) -> bool:
    return reason in {"accessNotConfigured", "SERVICE_DISABLED"} or "has not been used in project" in said


def _throttled(doing: str, said: str) -> ProviderError:
    return ProviderError(
        f"{doing}: the project asks more of the API than it may: {said}",
        hint="its limits are per minute: run khw again in a minute; it takes up where it was",
    )


def spoken(error: refusals.GoogleAPICallError) -> tuple[str, str]:
    """Return the message and the reason of a refusal."""
    for detail in error.errors or ():
        if isinstance(detail, dict) and detail.get("message"):
            return str(detail["message"]), str(detail.get("reason", ""))
    # api_core puts 'GET https://…: ' in front of what the API said; what is not the API's own may be a page of HTML
    said = re.sub(r"^[A-Z]+ https?://\S+: ", "", str(error.message))
    if "<" in said:
        said = " ".join(re.sub(r"<[^>]*>", " ", said).split())[:200]
    return said, ""


def reason_of(error: Exception) -> str:
    """Return the reason of a refusal, '' where it has none."""
    return spoken(error)[1] if isinstance(error, refusals.GoogleAPICallError) else ""


def is_project_missing(error: refusals.GoogleAPICallError, project: str) -> bool:
    """Say whether a 404 is about the project itself, and not about something in it."""
    said, _ = spoken(error)
    return isinstance(error, refusals.NotFound) and bool(
        re.search(rf"projects?[/ ]'?(projects/)?{re.escape(project)}'?(?![/\w-])", said, re.IGNORECASE)
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
