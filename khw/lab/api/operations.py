"""
Operations: every change is one.

They run side by side, one after another for the same resource, and end DONE, well or with an error. A daemon
takes up what one before it, that was killed, had not ended.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import secrets
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from khw.errors import LabError
from khw.lab.api.catalog import number
from khw.lab.api.faults import SORTS
from khw.lab.api.problems import OperationError
from khw.lab.state import Entry, Job

if TYPE_CHECKING:
    from khw.lab.api.project import Project

    Json = dict[str, Any]

log = logging.getLogger(__name__)

USER = "khw@lab.invalid"

# What an operation's errors are in HTTP's terms, where it is not 400.
_HTTP = {
    "INTERNAL_ERROR": (500, "INTERNAL SERVER ERROR"),
    "QUOTA_EXCEEDED": (403, "FORBIDDEN"),
    "ZONE_RESOURCE_POOL_EXHAUSTED": (503, "SERVICE UNAVAILABLE"),
}


@dataclass(frozen=True, slots=True)
class Before:
    """A resource as it was before a change that was taken over at once: where its operation fails, it is that again."""

    body: Json
    hidden: Json

    @classmethod
    def of(cls, entry: Entry) -> Before:
        """Return what `entry` is now."""
        return cls(copy.deepcopy(entry.body), copy.deepcopy(entry.hidden))


class Operations:
    """The operations of one project."""

    WORKERS = 64
    WAIT = 120.0  # seconds that a `wait` request may take, as Google's

    def __init__(self, project: Project) -> None:
        self._project = project
        self._pool = ThreadPoolExecutor(self.WORKERS, thread_name_prefix="operation")
        self._tails: dict[str, Future[None]] = {}  # the last operation of each resource
        self._running: dict[str, Future[None]] = {}
        self.waiters = 0  # clients that wait now
        self._hurry = threading.Event()  # the daemon is to end: nothing is slow any more
        self._closing: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # Beginning

    def begin(
        self,
        verb: str,
        entry: Entry,
        *,
        request: str = "",
        problem: tuple[str, ...] = (),
        before: Before | None = None,
    ) -> Job:
        """
        Start an operation on `entry`; with `problem` it is bound to end in that error. Hold the lock.

        `before` is what `entry` is to be again if a fault has the operation fail.
        """
        job = Job(self._describe(verb, entry), verb, entry.key, request=request, problem=list(problem))
        if request:
            job.body["clientOperationId"] = request
        fault = self._project.faults.meet("operation", f"{entry.collection}.{verb}", entry.name)
        if fault and not problem:
            job.arguments["fault"] = [fault.sort, fault.seconds]
            if before and SORTS[fault.sort].reason:
                entry.body, entry.hidden = before.body, before.hidden
        self._project.state.jobs[job.name] = job
        self._project.state.save()
        self._submit(job)
        return job

    def repeated(self, request: str) -> Job | None:
        """Return the operation that this requestId began, if it is known."""
        jobs = self._project.state.jobs.values()
        return next((job for job in jobs if request and job.request == request), None)

    def resume(self) -> None:
        """Take up what a daemon before this one left unfinished."""
        with self._project.state.lock:
            for job in list(self._project.state.jobs.values()):
                if not job.done:
                    log.info("taking up %s %s again", job.verb, job.target)
                    self._submit(job)

    def _describe(self, verb: str, entry: Entry) -> Json:
        now = self._project.now()
        name = f"operation-{int(time.time() * 1000)}-{secrets.token_hex(6)}"
        body: Json = {
            "kind": "compute#operation",
            "id": number(name),
            "name": name,
            "operationType": verb,
            "targetLink": entry.body["selfLink"],
            "targetId": entry.body["id"],
            "status": "PENDING",
            "progress": 0,
            "user": USER,
            "insertTime": now,
            "selfLink": self._project.link(f"{entry.scope}/operations/{name}"),
        }
        level = entry.scope.split("/")[0].removesuffix("s")
        if level in {"region", "zone"}:
            body[level] = self._project.link(entry.scope)
        return body

    def _submit(self, job: Job) -> None:
        before = self._tails.get(job.target)
        future = self._pool.submit(self._run, job, before)
        self._tails[job.target] = self._running[job.name] = future

    # Running

    def _run(self, job: Job, before: Future[None] | None) -> None:
        if before is not None:
            before.result()  # it has a thread: it was submitted earlier, and the pool is first come first served
        state = self._project.state
        with state.lock:
            job.body.update(status="RUNNING", startTime=self._project.now())
            entry = None if job.problem else state.entries.get(job.target)
        log.info("%s %s begins", job.verb, job.target)
        problem = self._attempt(job, entry)
        if entry and problem and job.verb == "insert":
            self._undo(entry, job)
        with state.lock:
            if problem:
                self._write_error(job, problem)
            if entry:
                self._settle(job.verb, entry, ended_well=problem is None)
            job.body.update(status="DONE", progress=100, endTime=self._project.now())
            state.save()
            self._running.pop(job.name, None)
        log.info("%s %s ends%s", job.verb, job.target, f": {problem}" if problem else "")

    def _attempt(self, job: Job, entry: Entry | None) -> OperationError | None:
        if job.problem:
            return OperationError(*job.problem)
        if entry is None:
            return None if job.verb == "delete" else OperationError("RESOURCE_NOT_FOUND", job.target)
        kind = self._project.kinds[entry.collection]
        work = kind.works.get(job.verb)
        try:
            self._meet(job)
            if work:
                work(self._project, entry, job)
            elif kind.networked:
                self._project.apply_network()
        except OperationError as error:
            return error
        except LabError as error:
            log.exception("%s %s failed", job.verb, job.target)
            return OperationError("INTERNAL_ERROR", str(error))
        except Exception as error:  # an operation must end, whatever the backend does
            log.exception("%s %s failed", job.verb, job.target)
            return OperationError("INTERNAL_ERROR", f"Internal error: {error!r}")
        return None

    def _meet(self, job: Job) -> None:
        """Let the operation take the time, or the end, that a fault gives it."""
        name, seconds = job.arguments.get("fault", ("", 0.0))
        self._hurry.wait(seconds)
        if name and SORTS[name].reason:
            raise OperationError(SORTS[name].reason, SORTS[name].message)

    def _settle(self, verb: str, entry: Entry, *, ended_well: bool) -> None:
        if verb == "insert" and ended_well:
            entry.ready = True
        if verb == "delete" and ended_well:
            self._project.faults.forgotten(entry)
            self._forget(entry)
        if verb == "delete":
            entry.deleting = False

    def _write_error(self, job: Job, problem: OperationError) -> None:
        status, words = _HTTP.get(problem.code, (400, "BAD REQUEST"))
        job.body["error"] = {"errors": [{"code": problem.code, "message": problem.message}]}
        job.body["httpErrorStatusCode"] = status
        job.body["httpErrorMessage"] = words

    def _forget(self, entry: Entry) -> None:
        entries = self._project.state.entries
        for key in [k for k, e in entries.items() if k == entry.key or e.hidden.get("owner") == entry.key]:
            del entries[key]

    def _undo(self, entry: Entry, job: Job) -> None:
        """Take away a failed insert, and what it may have left in the backend."""
        kind = self._project.kinds[entry.collection]
        with self._project.state.lock:
            self._forget(entry)
        try:
            if "undo" in kind.works:
                kind.works["undo"](self._project, entry, job)
            if kind.networked:
                self._project.apply_network()
        except LabError:
            log.exception("cleaning up after %s failed", entry.key)

    # Waiting

    def get(self, scope: str, name: str) -> Job | None:
        """Return an operation of this scope."""
        job = self._project.state.jobs.get(name)
        here = job and job.body["selfLink"] == self._project.link(f"{scope}/operations/{name}")
        return job if here else None

    async def wait(self, name: str) -> None:
        """Return when the operation has ended, or after a time, or when the daemon is to end."""
        future = self._running.get(name)
        if future is None:
            return
        self._loop = asyncio.get_running_loop()
        self._closing = self._closing or asyncio.Event()
        closing = asyncio.ensure_future(self._closing.wait())
        either: set[asyncio.Future[Any]] = {asyncio.wrap_future(future), closing}
        self.waiters += 1
        await asyncio.wait(either, timeout=self.WAIT, return_when=asyncio.FIRST_COMPLETED)
        self.waiters -= 1
        closing.cancel()

    def release(self) -> None:
        """Answer every `wait` now: the daemon is to end."""
        if self._loop and self._closing:
            self._loop.call_soon_threadsafe(self._closing.set)

    def close(self) -> None:
        """Let what runs come to its end; what has not begun is taken up by the next daemon."""
        self._hurry.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
