"""
What passes is waited for: throttling, an API that fails for a moment, answers that get lost on the way.

google-cloud-compute can repeat requests too, but knows no Retry-After, sleeps through Ctrl-C, and takes a broken
connection for the end.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

import requests.exceptions

from khw.inventory.gcp.errors import UNANSWERED, reason_of
from khw.inventory.gcp.library import refusals

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

T = TypeVar("T")

FIRST_PAUSE = 0.5  # seconds; doubled each time, each taken by chance between half and all of it
LONGEST_PAUSE = 8.0
FAILING = 30.0  # how long an API may fail, or be away once it has answered
THROTTLED = 150.0  # its limits are per minute: two of them, and a bit


def is_throttled(error: Exception) -> bool:
    """Whether the API says that too much is asked of it: 429, or Compute Engine's own 403."""
    if isinstance(error, refusals.TooManyRequests):
        return True
    return isinstance(error, refusals.Forbidden) and "ratelimit" in reason_of(error).lower()


def is_lost(error: Exception) -> bool:
    """Whether it is not known what became of the request."""
    failures = (
        refusals.InternalServerError,
        refusals.BadGateway,
        refusals.ServiceUnavailable,
        refusals.GatewayTimeout,
    )
    return isinstance(error, (*failures, *UNANSWERED))


def pause(error: Exception, tries: int) -> float:
    """Return the seconds to wait: what the API asks for, or more each time; by chance, so that not all come at once."""
    asked = retry_after(error)
    if asked is not None:
        return asked * random.uniform(1.0, 1.2)  # noqa: S311 - spreading requests, not a secret
    step = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**tries)
    return step * random.uniform(0.5, 1.0)  # noqa: S311 - as above


def retry_after(error: Exception) -> float | None:
    """Return the seconds that the answer's Retry-After says; None without one (Google sends no dates there)."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


class Patience:
    """
    How long one project's API is waited for, `timeout` at most (timeouts.cloud).

    An API that never answered is not there: that is told at once. `stopped` (Ctrl-C) ends every wait.
    """

    def __init__(self, timeout: float, stopped: threading.Event) -> None:
        self._timeout = timeout
        self._stopped = stopped
        self.has_answered = False

    def ask(self, call: Callable[[], T]) -> T:
        """Return what `call` returns; it is called again while what it meets may pass."""
        since: float | None = None
        tries = 0
        while True:
            try:
                answer = call()
            except (refusals.GoogleAPICallError, *UNANSWERED) as error:
                self.has_answered |= isinstance(error, refusals.GoogleAPICallError)
                since = since or time.monotonic()
                seconds = pause(error, tries)
                if time.monotonic() + seconds > since + self.lasts(error) or self._stopped.wait(seconds):
                    raise
                tries += 1
            else:
                self.has_answered = True
                return answer

    def lasts(self, error: Exception) -> float:
        """Return for how many seconds an error of this kind is worth another try; 0: it will not pass."""
        if is_throttled(error):
            return min(THROTTLED, self._timeout)
        absent = isinstance(error, requests.exceptions.ConnectionError) and not self.has_answered
        if is_lost(error) and not absent:
            return min(FAILING, self._timeout)
        return 0.0
