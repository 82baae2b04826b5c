"""What is waited for, and for how long: by clocks of the test's own, so that no test waits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.api_core import exceptions as refusals

from khw.inventory.gcp import patience as gcp_patience
from khw.inventory.gcp.patience import FAILING, THROTTLED, Patience

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock(threading.Event):
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        if self.is_set():
            return True
        assert timeout is not None
        self.waits.append(timeout)
        self.now += timeout
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(gcp_patience.time, "monotonic", lambda: clock.now)
    return clock


def refusal(kind: type[refusals.GoogleAPICallError], reason: str = "", **headers: str) -> refusals.GoogleAPICallError:
    response = requests.Response()
    response.headers.update({key.replace("_", "-"): value for key, value in headers.items()})
    return kind("no", errors=[{"message": "no", "reason": reason}], response=response)


def answers(*said: Any) -> Callable[[], Any]:
    """Return a call that raises or returns these, one after another, and the last of them from then on."""
    left = list(said)

    def call() -> Any:
        one = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(one, Exception):
            raise one
        return one

    return call


def test_what_the_api_asks_for_is_waited_for_and_a_little_more(clock: Clock) -> None:
    patience = Patience(300, clock)
    assert patience.ask(answers(refusal(refusals.TooManyRequests, Retry_After="7"), "fine")) == "fine"
    (wait,) = clock.waits
    assert 7 <= wait <= 7 * 1.2


def test_without_that_the_pauses_grow_and_differ(clock: Clock) -> None:
    failing = refusal(refusals.ServiceUnavailable)
    assert Patience(300, clock).ask(answers(*[failing] * 5, "fine")) == "fine"
    for wait, most in zip(clock.waits, (0.5, 1, 2, 4, 8), strict=True):
        assert most / 2 <= wait <= most
    assert len({wait / most for wait, most in zip(clock.waits, (0.5, 1, 2, 4, 8), strict=True)}) > 1


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        (refusal(refusals.TooManyRequests), THROTTLED),
        (refusal(refusals.Forbidden, "rateLimitExceeded"), THROTTLED),
        (refusal(refusals.ServiceUnavailable), FAILING),
        (refusal(refusals.InternalServerError), FAILING),
        (refusal(refusals.BadGateway), FAILING),
        (requests.exceptions.ReadTimeout(), FAILING),
        (requests.exceptions.ChunkedEncodingError(), FAILING),
    ],
)
def test_an_api_that_does_not_get_well_is_given_up(clock: Clock, error: Exception, limit: float) -> None:
    with pytest.raises(type(error)):
        Patience(300, clock).ask(answers(error))
    assert limit - 10 < sum(clock.waits) <= limit


def test_the_cluster_files_limit_is_the_last_word(clock: Clock) -> None:
    with pytest.raises(refusals.TooManyRequests):
        Patience(3, clock).ask(answers(refusal(refusals.TooManyRequests)))
    assert sum(clock.waits) <= 3
    with pytest.raises(refusals.TooManyRequests):
        Patience(300, clock).ask(answers(refusal(refusals.TooManyRequests, Retry_After="3600")))
    assert sum(clock.waits) <= 3, "an hour is not waited for"


@pytest.mark.parametrize(
    "error",
    [
        refusal(refusals.Forbidden, "quotaExceeded"),
        refusal(refusals.Forbidden, "forbidden"),
        refusal(refusals.NotFound),
        refusal(refusals.Conflict),
        refusal(refusals.BadRequest, "invalid"),
        requests.exceptions.ConnectionError(),
    ],
)
def test_what_will_not_pass_is_told_at_once(clock: Clock, error: Exception) -> None:
    with pytest.raises(type(error)):
        Patience(300, clock).ask(answers(error, "never asked for"))
    assert clock.waits == []


def test_an_api_that_has_answered_before_may_be_away_for_a_while(clock: Clock) -> None:
    patience = Patience(300, clock)
    patience.ask(answers("fine"))
    assert patience.ask(answers(requests.exceptions.ConnectionError(), "back")) == "back"
    with pytest.raises(requests.exceptions.ConnectionError):
        patience.ask(answers(requests.exceptions.ConnectionError()))
    assert sum(clock.waits) <= FAILING + 1


def test_ctrl_c_ends_the_waiting(clock: Clock) -> None:
    clock.set()
    with pytest.raises(refusals.ServiceUnavailable):
        Patience(300, clock).ask(answers(refusal(refusals.ServiceUnavailable), "never asked for"))
