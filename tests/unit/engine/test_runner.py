from __future__ import annotations

import _thread
import threading

from nornir.core import Nornir
from nornir.core.inventory import Defaults, Groups, Host, Hosts, Inventory
from nornir.core.task import Result, Task

from khw.engine.runner import LaneRunner


def inventory(count: int) -> Inventory:
    return Inventory(Hosts({f"h{n}": Host(f"h{n}") for n in range(count)}), Groups(), Defaults())


def test_every_host_runs_and_has_its_result() -> None:
    def work(task: Task) -> Result:
        return Result(host=task.host, result=task.host.name.upper())

    result = Nornir(inventory(5), runner=LaneRunner(2)).run(task=work)
    assert {name: multi[0].result for name, multi in result.items()} == {f"h{n}": f"H{n}" for n in range(5)}


def test_after_an_interrupt_no_new_host_starts_and_running_ones_end() -> None:
    ran: list[str] = []
    presses: list[int] = []
    interrupted = threading.Event()

    def work(task: Task) -> Result:
        ran.append(task.host.name)
        if len(ran) == 2:  # both lanes are at work: press Ctrl-C
            _thread.interrupt_main()
        interrupted.wait(10)
        return Result(host=task.host)

    def on_interrupt(press: int) -> None:
        presses.append(press)
        interrupted.set()

    result = Nornir(inventory(40), runner=LaneRunner(2, on_interrupt)).run(task=work)
    assert presses == [1]
    assert len(ran) == 2
    assert set(result) == set(ran)
