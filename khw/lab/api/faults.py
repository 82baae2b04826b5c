"""
Faults: what Google's API does on a bad day, asked for beforehand (`khw lab fault add`) and then met by requests.

A fault is one row of SORTS, with what it is for: a method as Google names it (`instances.insert`, `*.list`), a
resource's name, how many times. Refusals are met in app.py before anything is done, errors of operations in
operations.py, machines that never boot in instances.py, lists that lag in app.py, and rights that are missing in
rights.py.
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from khw.lab.api.problems import ApiError, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from khw.lab.state import Entry

Json = dict[str, Any]
PATH = "/lab/v1/faults"  # where they are asked for, beside the Compute API

Place: TypeAlias = Literal["request", "operation", "machine", "lists", "rights"]


@dataclass(frozen=True, slots=True)
class Sort:
    """
    A sort of fault.

    `place` is where it is met, `on` the methods that it is for unless told otherwise, `seconds` what its own time is
    then. A request is refused with `status`, `reason` and `message`; an operation ends in the code `reason`.
    """

    text: str
    place: Place
    on: str = "*"
    seconds: float = 0.0
    status: int = 0
    reason: str = ""
    message: str = ""
    domain: str = "global"


_CPUS = "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-west1."

SORTS: Mapping[str, Sort] = {
    "rate-limit": Sort(
        "429 with Retry-After: SECONDS",
        "request",
        seconds=1.0,
        status=429,
        reason="rateLimitExceeded",
        message="Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service "
        "'compute.googleapis.com'.",
    ),
    "rate-limit-403": Sort(
        "403 rateLimitExceeded, as Compute Engine's own limits answer",
        "request",
        status=403,
        reason="rateLimitExceeded",
        message="Rate Limit Exceeded",
        domain="usageLimits",
    ),
    "unavailable": Sort(
        "503",
        "request",
        status=503,
        reason="backendError",
        message="The service is currently unavailable.",
    ),
    "internal": Sort(
        "500",
        "request",
        status=500,
        reason="backendError",
        message="Internal error. Please try again or contact Google Support.",
    ),
    "bad-gateway": Sort("502 with a page of HTML, as a proxy on the way answers", "request", status=502),
    "silence": Sort("no answer for SECONDS, and nothing is done", "request", seconds=20.0),
    "lost-answer": Sort("it is done, and the connection breaks before the answer is through", "request"),
    "quota": Sort(
        "403 quotaExceeded",
        "request",
        on="*.insert",
        status=403,
        reason="quotaExceeded",
        message=_CPUS,
        domain="usageLimits",
    ),
    "quota-late": Sort(
        "the operation ends in QUOTA_EXCEEDED", "operation", on="*.insert", reason="QUOTA_EXCEEDED", message=_CPUS
    ),
    "exhausted": Sort(
        "the operation ends in ZONE_RESOURCE_POOL_EXHAUSTED",
        "operation",
        on="instances.insert",
        reason="ZONE_RESOURCE_POOL_EXHAUSTED",
        message="The zone does not have enough resources available to fulfill the request.  Try a different zone, "
        "or try again later.",
    ),
    "operation-error": Sort(
        "the operation ends in INTERNAL_ERROR",
        "operation",
        on="*.insert",
        reason="INTERNAL_ERROR",
        message="Internal error. Please try again or contact Google Support. (Code: '-1')",
    ),
    "slow-operation": Sort("the operation takes SECONDS longer", "operation", on="*.insert", seconds=20.0),
    "api-disabled": Sort(
        "403 accessNotConfigured: the Compute Engine API is not enabled",
        "request",
        status=403,
        reason="accessNotConfigured",
        message="Compute Engine API has not been used in project 123456789012 before or it is disabled. Enable it by "
        "visiting https://console.developers.google.com/apis/api/compute.googleapis.com/overview then retry.",
        domain="usageLimits",
    ),
    "forbidden": Sort(
        "403 forbidden: the permission that ON says (compute.firewalls.create) is not held",
        "rights",
        on="compute.*.create",
    ),
    "never-boots": Sort("the instance is RUNNING, and its machine never boots", "machine", on="instances.insert"),
    "stale-lists": Sort("lists show what was SECONDS ago; a get shows what is", "lists", seconds=10.0),
}


@dataclass(kw_only=True)
class Fault:
    """A fault that was asked for: of which sort, for what (globs), how often (0: until cleared), and how often met."""

    id: int
    sort: str
    on: str
    name: str = "*"
    times: int = 1
    seconds: float = 0.0
    met: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it was met as often as was asked for."""
        return 0 < self.times <= self.met

    def as_json(self) -> Json:
        """Return it as the lab's own API shows it."""
        return {**asdict(self), "over": self.is_over}

    def refusal(self) -> ApiError:
        """Return what a request is refused with."""
        sort = SORTS[self.sort]
        after = self.seconds if self.sort == "rate-limit" else None
        return ApiError(sort.status, sort.reason, sort.message, domain=sort.domain, retry_after=after)


@dataclass
class Faults:
    """The faults of a lab. They live as long as its daemon."""

    _rows: list[Fault] = field(default_factory=list)
    _gone: list[tuple[float, Entry]] = field(default_factory=list)  # deleted lately: lists that lag show them
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, sort: str, **given: Any) -> Fault:
        """Ask for a fault; what is not given is its sort's own."""
        if sort not in SORTS:
            raise invalid("sort", sort, f"There is: {', '.join(SORTS)}.")
        usual = SORTS[sort]
        times = 0 if usual.place in {"lists", "rights"} else 1
        chosen: Json = {"on": usual.on, "seconds": usual.seconds, "times": times}
        chosen.update({key: value for key, value in given.items() if value is not None})
        try:
            row = Fault(id=next(self._ids), sort=sort, **chosen)
        except TypeError as error:
            raise invalid("fault", given, "A fault has sort, on, name, times and seconds.") from error
        numbers = isinstance(row.times, int) and row.times >= 0 and isinstance(row.seconds, int | float)
        if not (numbers and isinstance(row.on, str) and isinstance(row.name, str)):
            raise invalid("fault", given, "on and name are texts, times is a whole number, seconds a number.")
        with self._lock:
            self._rows.append(row)
        return row

    def rows(self) -> list[Fault]:
        """Return all that were asked for, also those that are over."""
        with self._lock:
            return list(self._rows)

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._rows.clear()
            self._gone.clear()

    def meet(self, place: Place, method: str, name: str) -> Fault | None:
        """Return the first fault that is for this method and this resource, and count it."""
        with self._lock:
            for row in self._rows:
                fits = SORTS[row.sort].place == place and not row.is_over
                if fits and fnmatchcase(method, row.on) and fnmatchcase(name, row.name):
                    row.met += 1
                    return row
        return None

    # Lists that lag

    def forgotten(self, entry: Entry) -> None:
        """Take note of what was deleted."""
        with self._lock:
            if any(SORTS[row.sort].place == "lists" for row in self._rows):
                self._gone.append((time.monotonic(), entry))

    def as_listed(
        self, method: str, collection: str, scope: str | None, rows: Sequence[tuple[str, Json]]
    ) -> list[tuple[str, Json]]:
        """Return the rows of a list as a lagging one shows them: without what is new, with what has just gone."""
        fault = self.meet("lists", method, "*")
        if fault is None:
            return list(rows)
        began = datetime.now(UTC) - timedelta(seconds=fault.seconds)
        old = [row for row in rows if datetime.fromisoformat(row[1]["creationTimestamp"]) <= began]
        with self._lock:
            recent = [entry for at, entry in self._gone if time.monotonic() - at < fault.seconds]
        shown = [e for e in recent if e.collection == collection and scope in {None, e.scope}]
        there = {row[1]["id"] for row in rows}
        return old + [(e.scope, e.body) for e in shown if e.body["id"] not in there]
