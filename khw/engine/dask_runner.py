"""
A Nornir runner on Dask: the hosts of a run are spread over processes, on this machine or on many.

    nr = InitNornir(
        inventory={"plugin": "khw", "options": {"cluster_file": "khw.yaml"}},
        runner={"plugin": "khw_dask", "options": {"address": "tls://scheduler:8786"}},
    )

Without an address it starts processes on this machine, for itself, behind TLS with keys that it makes for them. It
needs the extra `khw[dask]`. What is shared between hosts stays with `khw.engine.runner.LaneRunner`:
docs/decisions/0023.
"""

from __future__ import annotations

import importlib
import os
import queue
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from nornir.core.task import AggregatedResult, MultiResult, Result

from khw import interrupt
from khw.engine import shard
from khw.engine.runner import POLL
from khw.errors import KhwError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nornir.core.inventory import Host
    from nornir.core.task import Task

# Half of Dask has types, and that half says less than its documentation.
Client: TypeAlias = Any
Future: TypeAlias = Any

ENCRYPTED = ("tls://", "inproc://")


class DaskRunner:
    """
    One Dask task a host; on Ctrl-C it does what `LaneRunner` does.

    `address` is a scheduler's, with TLS as Dask's own configuration says; `client` one that is connected already.
    Otherwise there are `processes` on this machine (0: one a core) with `threads` hosts at a time in each.

    Whoever reaches a scheduler without TLS can run code where the SSH keys are, so none is used unless `plain_tcp`
    allows it; and then no host whose inventory has a password. Workers read the SSH key from the path that the
    inventory names, each on its own machine: no private key travels.
    """

    def __init__(  # noqa: PLR0913 - Nornir passes a runner's options by name
        self,
        address: str = "",
        *,
        client: Client | None = None,
        processes: int = 0,
        threads: int = 16,
        plain_tcp: bool = False,
        on_interrupt: Callable[[int], None] | None = None,
    ) -> None:
        self.address = address
        self.client = client
        self.processes = processes or len(os.sched_getaffinity(0))
        self.threads = threads
        self.plain_tcp = plain_tcp
        self.on_interrupt = on_interrupt

    def run(self, task: Task, hosts: list[Host]) -> AggregatedResult:
        """Run the task on all hosts, wherever Dask puts them; the results are those of the hosts that ran."""
        result = AggregatedResult(task.name)
        run = uuid.uuid4().hex
        with interrupt.listening(self.on_interrupt) as alone:
            if hosts:
                with self._connected() as client:
                    config = shard.seen_by_tasks(task.nornir.config)
                    parcels = [shard.Parcel.of(run, task, config, host) for host in hosts]
                    self._require_private(client, parcels)
                    _Spread(client, run, task).run(parcels, hosts, result)
        if alone and interrupt.pressed() and self.on_interrupt is None:
            raise KeyboardInterrupt
        return result

    @contextmanager
    def _connected(self) -> Iterator[Client]:
        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError:
            raise UsageError("the runner khw_dask needs Dask", hint="pip install 'khw[dask]'") from None
        if self.client is not None:
            yield self.client
        elif self.address:
            with distributed.Client(self.address, set_as_default=False) as client:
                yield client
        else:
            with self._local() as cluster, distributed.Client(cluster, set_as_default=False) as client:
                yield client

    def _local(self) -> Any:
        """Start processes on this machine; a host whose process dies is not run a second time."""
        dask: Any = importlib.import_module("dask")
        distributed: Any = importlib.import_module("distributed")
        with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
            return distributed.LocalCluster(
                n_workers=self.processes,
                threads_per_worker=self.threads,
                security=distributed.Security.temporary(),
                dashboard_address="127.0.0.1:0",  # None would be port 8787, which a second run finds taken
                preload=["khw.engine.shard"],
            )

    def _require_private(self, client: Client, parcels: list[shard.Parcel]) -> None:
        address: str = client.scheduler.address
        if address.startswith(ENCRYPTED):
            return
        if not self.plain_tcp:
            raise UsageError(
                f"Dask's scheduler at {address} has no TLS: whoever reaches it can run code where the SSH keys are",
                hint="set up TLS (distributed.comm in Dask's configuration), or allow it: plain_tcp",
            )
        if found := [place for parcel in parcels for place in shard.secrets_of(parcel)]:
            listed = ", ".join(sorted(set(found))[:5])
            raise UsageError(
                f"a password would travel to {address} in the clear: {listed}",
                hint="log in with a key, or set up TLS (distributed.comm in Dask's configuration)",
            )


class _Spread:
    """One run's hosts, on Dask's workers."""

    def __init__(self, client: Client, run: str, task: Task) -> None:
        self._client = client
        self._run = run
        self._task = task
        self._ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._told = 0  # presses that the workers know of

    def run(self, parcels: list[shard.Parcel], hosts: list[Host], result: AggregatedResult) -> None:
        """Submit all hosts, and gather their results as they come; hosts left behind have none."""
        packed = [_packed(parcel) for parcel in parcels]  # all of them, before anything runs
        waiting = {self._submit(row, host): host for row, host in zip(packed, hosts, strict=True)}
        for future in list(waiting):
            future.add_done_callback(self._ended.put)
        while waiting and not interrupt.overdue():
            self._pass_on_presses()
            for host, multi in self._results({future: waiting.pop(future) for future in self._next()}):
                result[host.name] = multi
                self._task.processors.task_instance_completed(self._task, host, multi)
        self._client.cancel(list(waiting))

    def _submit(self, packed: bytes, host: Host) -> Future:
        self._task.processors.task_instance_started(self._task, host)
        future: Future = self._client.submit(shard.work, packed, key=f"{self._run}-{host.name}", pure=False)
        return future

    def _next(self) -> list[Future]:
        """Return those that have ended; wait a moment if there are none."""
        try:
            ended = [self._ended.get(timeout=POLL)]
        except queue.Empty:
            self._told = 0  # once more: a worker may have come late
            return []
        with suppress(queue.Empty):
            while True:
                ended.append(self._ended.get_nowait())
        return ended

    def _results(self, hosts: dict[Future, Host]) -> Iterator[tuple[Host, MultiResult]]:
        """Fetch all at once, because a busy worker takes its time to answer; without those that were not begun."""
        good = {host.name: future for future, host in hosts.items() if future.status == "finished"}
        fetched = self._client.gather(good, errors="skip")  # None for those whose worker is gone
        for future, host in hosts.items():
            packed = fetched.get(host.name)
            if packed is None:
                yield host, self._failure(future, host)
            elif packed:
                yield host, shard.results(packed, host)

    def _failure(self, future: Future, host: Host) -> MultiResult:
        """Return what Dask says of it: a worker that died, a package that it lacks."""
        error = future.exception() if future.status == "error" else KhwError("its result was lost with its worker")
        multi = MultiResult(self._task.name)
        multi.append(Result(host, exception=error, result=str(error), failed=True))
        return multi

    def _pass_on_presses(self) -> None:
        presses = 2 if interrupt.ended() else int(interrupt.pressed())
        if presses > self._told:
            self._client.run(shard.end if presses > 1 else shard.stop, self._run)
            self._told = presses


def _packed(parcel: shard.Parcel) -> bytes:
    cloudpickle: Any = importlib.import_module("cloudpickle")  # Dask brings it
    try:
        packed: bytes = cloudpickle.dumps(parcel)
    except TypeError as error:
        raise UsageError(
            f"the task {parcel.name!r} cannot travel to another process: {error}",
            hint="give it values that can be pickled, and no secret: let it read what it needs where it runs",
        ) from None
    return packed
