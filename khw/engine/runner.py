"""
A Nornir runner that can be stopped.

Nornir's own threaded runner runs every host to its end after Ctrl-C; this one starts no new host, tells the lanes that
run, and lets them end. (Nornir reference: nornir.core.plugins.runners.RunnerPlugin.)
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from nornir.core.task import AggregatedResult

from khw import interrupt

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from nornir.core.inventory import Host
    from nornir.core.task import MultiResult, Task


POLL = 0.5  # seconds between two looks whether the run was ended


class LaneRunner:
    """
    One thread a host, at most `num_workers`; on Ctrl-C `on_interrupt(n)` is called with the number of presses.

    After the first press nothing new starts; the run ends when the hosts that are at work have ended, and their results
    are the run's. After the second, hosts that are still at work a moment later are left behind, without a result.
    """

    def __init__(self, num_workers: int = 256, on_interrupt: Callable[[int], None] | None = None) -> None:
        self.num_workers = num_workers
        self.on_interrupt = on_interrupt

    def run(self, task: Task, hosts: list[Host]) -> AggregatedResult:
        """Run the task on all hosts; the results are those of the hosts that ran."""
        result = AggregatedResult(task.name)
        with interrupt.listening(self.on_interrupt) as alone:
            pool = ThreadPoolExecutor(max(1, min(self.num_workers, len(hosts))), thread_name_prefix="lane")
            futures = {host.name: pool.submit(self._start, task.copy(), host) for host in hosts}
            for name, future in futures.items():
                if (multi := _result(future)) is not None:
                    result[name] = multi
            pool.shutdown(wait=not interrupt.ended())
        if alone and interrupt.pressed() and self.on_interrupt is None:
            raise KeyboardInterrupt
        return result

    def _start(self, task: Task, host: Host) -> MultiResult | None:
        return None if interrupt.pressed() else task.start(host)


def _result(future: Future[MultiResult | None]) -> MultiResult | None:
    while True:
        try:
            return future.result(POLL)
        except TimeoutError:
            if interrupt.overdue():
                return None
