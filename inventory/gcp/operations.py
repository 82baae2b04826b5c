"""Operations: started all at once, waited for together, each with a time limit, and their errors explained."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import requests.exceptions

from khw.errors import OperationError, ProviderError
from khw.inventory.gcp.errors import MORE_QUOTA, explain, explained, spoken
from khw.inventory.gcp.library import compute_v1, refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from khw.inventory.gcp.clients import Api, Message

T = TypeVar("T")

MOST_AT_ONCE = 48  # requests; an operation that is waited for holds one
NOT_READY_PAUSE = 0.5  # seconds between two looks at what an operation of an earlier run is still at
LONGEST_WAIT = (
    2.0  # seconds that one wait is left to the API (which answers after two minutes), so that Ctrl-C is quick
)

HINTS = {
    "QUOTA_EXCEEDED": MORE_QUOTA,
    "ZONE_RESOURCE_POOL_EXHAUSTED": "this zone has no such machine at the moment: another zone or machine_type",
    "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE": "remove what uses it, which khw did not make, and run this again",
    "INTERNAL_ERROR": "run khw again; it takes up where it was",
    "IP_IN_USE_BY_ANOTHER_RESOURCE": "another machine has this address: see `gcloud compute instances list`",
}


class BlockedError(Exception):
    """A job was not begun, because one that it needs failed."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done once the jobs named in `after` are done (those that there are)."""

    key: Hashable
    run: Callable[[], Any]
    after: Sequence[Hashable] = field(default_factory=tuple)


def together(api: Api, jobs: Iterable[Job]) -> dict[Hashable, Any]:
    """
    Run all jobs at once, each as soon as those that it comes after are done; return their results.

    Jobs come in an order in which none precedes what it needs. When some fail, those that can still be done are
    done, and then the errors are told together. Ctrl-C begins no further job.
    """
    rows = list(jobs)
    if not rows:
        return {}
    futures: dict[Hashable, Future[Any]] = {}
    pool = ThreadPoolExecutor(max_workers=min(MOST_AT_ONCE, len(rows)), thread_name_prefix="khw-gcp")
    try:
        for job in rows:
            needs = [futures[key] for key in job.after if key in futures]
            futures[job.key] = pool.submit(_after, needs, job.run)
        failures = [error for future in futures.values() if (error := future.exception())]
    except BaseException:
        api.stopped.set()  # Ctrl-C: what waits in a thread ends, or the process would wait for it
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    told = [error for error in failures if not isinstance(error, BlockedError)]
    for error in told:
        if not isinstance(error, ProviderError):
            raise error
    if told:
        raise _joined([error for error in told if isinstance(error, ProviderError)])
    return {key: future.result() for key, future in futures.items()}


def _after(needs: Sequence[Future[Any]], run: Callable[[], T]) -> T:
    for future in needs:
        if future.exception():
            raise BlockedError
    return run()


def _joined(errors: Sequence[ProviderError]) -> ProviderError:
    """Return the first error, with what the others say beside it."""
    rows = list(dict.fromkeys(error.message for error in errors))
    if len(rows) == 1:
        return errors[0]
    return type(errors[0])("\n".join(rows), hint=errors[0].hint)


def begin(api: Api, client: str, method: str, request: Mapping[str, Any], doing: str) -> Message:
    """
    Start an operation and return it, not yet done.

    What a run before this one left half-made or half-deleted is 'not ready' until its operation ends: that is
    waited for.
    """
    deadline = time.monotonic() + api.timeout
    while True:
        try:
            return api.start(client, method, request)
        except refusals.BadRequest as error:
            if spoken(error)[1] != "resourceNotReady" or api.stopped.is_set() or time.monotonic() > deadline:
                raise explain(doing, error, api.gcp) from None
            api.stopped.wait(NOT_READY_PAUSE)  # that operation was begun elsewhere: its name is not known here


def finish(api: Api, operation: Message, doing: str) -> Message:
    """Wait for an operation; OperationError when it ends in an error, or does not end within timeouts.cloud."""
    deadline = time.monotonic() + api.timeout
    api.patience.has_answered = True  # it gave us the operation
    done = compute_v1.Operation.Status.DONE
    while operation.status != done:
        left = deadline - time.monotonic()
        if api.stopped.is_set():
            raise OperationError(f"{doing}: interrupted; operation {operation.name} goes on without khw")
        if left <= 0:
            raise OperationError(
                f"{doing}: operation {operation.name} did not end within {api.timeout:.0f} s",
                hint="run khw again: it takes up where it was; timeouts.cloud is the limit",
            )
        with explained(doing, api.gcp):
            operation = api.patience.ask(partial(_wait, api, operation, min(left, LONGEST_WAIT)))
        if operation.status != done:
            api.stopped.wait(0.2)  # the API may answer a wait before its time, when it has much to do
    if operation.error.errors:
        first = operation.error.errors[0]
        said = "; ".join(str(error.message or error.code) for error in operation.error.errors)
        raise OperationError(f"{doing}: {said} ({first.code})", hint=HINTS.get(str(first.code), ""))
    if operation.http_error_status_code >= 400:
        raise OperationError(f"{doing}: {operation.http_error_message} ({operation.http_error_status_code})", hint="")
    return operation


def _wait(api: Api, operation: Message, seconds: float) -> Message:
    request = {"project": api.gcp.project, "operation": operation.name}
    if operation.zone:
        client, request["zone"] = "ZoneOperationsClient", last(operation.zone)
    elif operation.region:
        client, request["region"] = "RegionOperationsClient", last(operation.region)
    else:
        client = "GlobalOperationsClient"
    try:
        return api.client(client).wait(request=request, timeout=seconds, retry=None)
    except requests.exceptions.ReadTimeout:
        return operation  # it takes longer than one wait


def last(link: str) -> str:
    """Return the name at the end of a link."""
    return str(link).rpartition("/")[2]
