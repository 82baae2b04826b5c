"""
A Nornir runner that can be stopped.

Nornir's own threaded runner runs every host to its end after Ctrl-C; this one starts no new host, tells the lanes that
run, and lets them end. (Nornir reference: nornir.core.plugins.runners.RunnerPlugin.)
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from nornir.core.task import AggregatedResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from nornir.core.inventory import Host
    from nornir.core.task import MultiResult, Task


class LaneRunner:
    """
    One thread a host, at most `num_workers`; on Ctrl-C `on_interrupt(n)` is called with the number of presses.

    After the first press nothing new starts; the run ends when the hosts that are at work have ended.
    """

    def __init__(self, num_workers: int = 256, on_interrupt: Callable[[int], None] | None = None) -> None:
        self.num_workers = num_workers
        self.on_interrupt = on_interrupt

    def run(self, task: Task, hosts: list[Host]) -> AggregatedResult:
        """Run the task on all hosts; the results are those of the hosts that ran."""
        result = AggregatedResult(task.name)
        pool = ThreadPoolExecutor(max_workers=max(1, min(self.num_workers, len(hosts))), thread_name_prefix="lane")
        futures = {host.name: pool.submit(task.copy().start, host) for host in hosts}
        try:
            self._wait(pool, list(futures.values()))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        for name, future in futures.items():
            if not future.cancelled():
                result[name] = future.result()
        return result

    def _wait(self, pool: ThreadPoolExecutor, futures: list[Future[MultiResult]]) -> None:
        presses = 0
        while True:
            try:
                wait(futures)
            except KeyboardInterrupt:
                presses += 1
                pool.shutdown(wait=False, cancel_futures=True)
                if self.on_interrupt is None:
                    raise
                self.on_interrupt(presses)
            else:
                return
