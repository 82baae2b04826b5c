"""
A Nornir runner that can be stopped.

Nornir's own threaded runner runs every host to its end after Ctrl-C; this one starts no new host, tells the lanes that
run, and lets them end. (Nornir reference: nornir.core.plugins.runners.RunnerPlugin.)
"""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nornir.core.task import AggregatedResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nornir.core.inventory import Host
    from nornir.core.task import MultiResult, Task


class LaneRunner:
    """
    One thread a host, at most `num_workers`; on Ctrl-C `on_interrupt(n)` is called with the number of presses.

    After the first press nothing new starts; the run ends when the hosts that are at work have ended. Their results
    are the run's.
    """

    def __init__(self, num_workers: int = 256, on_interrupt: Callable[[int], None] | None = None) -> None:
        self.num_workers = num_workers
        self.on_interrupt = on_interrupt
        self._presses = 0

    def run(self, task: Task, hosts: list[Host]) -> AggregatedResult:
        """Run the task on all hosts; the results are those of the hosts that ran."""
        result = AggregatedResult(task.name)
        workers = max(1, min(self.num_workers, len(hosts)))
        with self._interruptible(), ThreadPoolExecutor(workers, thread_name_prefix="lane") as pool:
            futures = {host.name: pool.submit(self._start, task.copy(), host) for host in hosts}
            for name, future in futures.items():
                if (multi := future.result()) is not None:
                    result[name] = multi
        return result

    def _start(self, task: Task, host: Host) -> MultiResult | None:
        return None if self._presses else task.start(host)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Count Ctrl-C instead of raising in the middle of anything; only the main thread gets signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._pressed)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
        if self._presses and self.on_interrupt is None:
            raise KeyboardInterrupt

    def _pressed(self, _signal: int, _frame: object) -> None:
        self._presses += 1
        if self.on_interrupt is not None:
            self.on_interrupt(self._presses)
