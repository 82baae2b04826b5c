from __future__ import annotations

import _thread
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from nornir.core import Nornir
from nornir.core.inventory import ConnectionOptions, Defaults, Group, Groups, Host, Hosts, Inventory, ParentGroups
from nornir.core.task import Result, Task
from sshserver import SshServer

from khw.engine import shard
from khw.engine.dask_runner import DaskRunner
from khw.errors import StepError, UsageError
from khw.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client

PROCESSES, THREADS = 2, 4

# Tasks are functions inside of tests: such travel by value, and this file cannot be imported in another process.


@pytest.fixture(scope="module")
def dasks_own_port() -> Iterator[None]:
    """Somebody else has the port that Dask's web server takes if it is not told another: another run, for one."""
    with socket.socket() as taken, suppress(OSError):
        taken.bind(("127.0.0.1", 8787))
        taken.listen()
        yield
        return
    yield


@pytest.fixture(scope="module")
def client(dasks_own_port: None) -> Iterator[Client]:
    del dasks_own_port
    with DaskRunner(processes=PROCESSES, threads=THREADS)._connected() as client:
        yield client


def nornir(client: Any, count: int = 6, **host: Any) -> Nornir:
    group = Group("worker", data={"role": "worker"})
    defaults = Defaults(data={"cluster": "test"})
    names = [f"h{number}" for number in range(count)]
    hosts = Hosts({name: Host(name, groups=ParentGroups([group]), defaults=defaults, **host) for name in names})
    inventory = Inventory(hosts, Groups({"worker": group}), defaults)
    return Nornir(inventory, runner=DaskRunner(client=client))


def awaited(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_hosts_run_in_other_processes_and_their_results_come_back(client: Client) -> None:
    def work(task: Task, word: str) -> Result:
        time.sleep(0.2)
        return Result(task.host, result=(os.getpid(), task.host.name, task.host["role"], task.host["cluster"], word))

    it = nornir(client, 16)
    results = it.run(task=work, word="x")
    assert {name: multi[0].result[1:] for name, multi in results.items()} == {
        f"h{n}": (f"h{n}", "worker", "test", "x") for n in range(16)
    }
    processes = {multi[0].result[0] for multi in results.values()}
    assert len(processes) == PROCESSES
    assert os.getpid() not in processes
    assert all(multi[0].host is it.inventory.hosts[name] for name, multi in results.items())


def test_subtasks_and_errors_come_back_as_they_are(client: Client) -> None:
    def inner(task: Task) -> Result:
        if task.host.name == "h1":
            raise StepError("the disk is full", node="h1", hint="make room", evidence="df")
        return Result(task.host, changed=True)

    def work(task: Task) -> str:
        task.run(task=inner, name="inner")
        return "done"

    results = nornir(client, 2).run(task=work)
    assert [row.name for row in results["h0"]] == ["work", "inner"]
    assert results["h0"].changed
    assert set(results.failed_hosts) == {"h1"}
    error = results["h1"][1].exception
    assert isinstance(error, StepError)
    assert (error.message, error.hint, error.evidence) == ("the disk is full", "make room", "df")


def test_what_cannot_come_back_comes_back_as_words(client: Client) -> None:
    class StubbornError(Exception):
        def __reduce__(self) -> Any:
            raise TypeError("never")

    def work(task: Task) -> Result:
        if task.host.name == "h0":
            raise StubbornError("no way")
        return Result(task.host, result=threading.Lock())

    results = nornir(client, 2).run(task=work)
    assert "StubbornError: no way" in str(results["h0"][0].exception)
    assert "lock" in results["h1"][0].result


def test_a_processor_hears_of_every_host(client: Client) -> None:
    heard: list[str] = []

    class Processor:
        def task_started(self, task: Task) -> None: ...

        def task_completed(self, task: Task, result: Any) -> None: ...

        def task_instance_started(self, task: Task, host: Host) -> None:
            heard.append(f"began {host.name}")

        def task_instance_completed(self, task: Task, host: Host, result: Any) -> None:
            heard.append(f"ended {host.name}: {result[0].result}")

        def subtask_instance_started(self, task: Task, host: Host) -> None: ...

        def subtask_instance_completed(self, task: Task, host: Host, result: Any) -> None: ...

    def work(task: Task) -> str:
        return task.host.name.upper()

    nornir(client, 2).with_processors([cast("Any", Processor())]).run(task=work)
    assert sorted(heard) == ["began h0", "began h1", "ended h0: H0", "ended h1: H1"]


def test_an_agent_is_reached_from_another_process_and_let_go(client: Client, tmp_path: Path) -> None:
    def work(task: Task) -> int:
        from khw.ssh.client import RemoteCommand

        agent = task.host.get_connection("khw_agent", task.nornir.config)
        return int(agent.run(RemoteCommand(("true",)))[0].code)

    with SshServer(tmp_path) as server:
        extras = {
            "use_keys": True,
            "key_file": str(server.private_key),
            "allow_agent": False,
            "system_host_keys": False,
            "host_keys": [f"{server.host_key.get_name()} {server.host_key.get_base64()}"],
            "conn_timeout": 20,
        }
        options = {"khw_agent": ConnectionOptions("127.0.0.1", server.port, "khw", None, "terminal_server", extras)}
        results = nornir(client, 2, connection_options=options).run(task=work)
        assert {name: multi[0].result for name, multi in results.items()} == {"h0": 0, "h1": 0}
        assert len(server.transports) == 2
        awaited(lambda: not any(transport.is_active() for transport in server.transports))


def test_a_secret_does_not_travel(client: Client) -> None:
    def work(task: Task, key: Secret) -> None:
        raise AssertionError

    with pytest.raises(UsageError, match="cannot travel"):
        nornir(client).run(task=work, key=Secret("k"))


def on(address: str) -> Any:
    return SimpleNamespace(scheduler=SimpleNamespace(address=address))


def nothing(task: Task, **_: Any) -> None:
    raise AssertionError(task.name)


def test_a_scheduler_without_tls_is_not_used() -> None:
    with pytest.raises(UsageError, match="has no TLS"):
        nornir(on("tcp://192.0.2.1:8786")).run(task=nothing)


@pytest.mark.parametrize(
    ("host", "parameters", "place"),
    [
        ({"password": "p"}, {}, "h0: password"),
        ({"data": {"api": {"token": "t"}}}, {}, "h0: data.api.token"),
        (
            {"connection_options": {"netmiko": ConnectionOptions(extras={"secret": "s"})}},
            {},
            "h0: netmiko.extras.secret",
        ),
        ({}, {"password": "p"}, "password"),
    ],
)
def test_no_password_goes_over_plain_tcp_even_where_that_is_allowed(
    host: dict[str, Any], parameters: dict[str, Any], place: str
) -> None:
    it = nornir(None, 1, **host).with_runner(DaskRunner(client=on("tcp://192.0.2.1:8786"), plain_tcp=True))
    with pytest.raises(UsageError, match=place):
        it.run(task=nothing, **parameters)


def test_its_own_cluster_speaks_tls_and_leaves_ctrl_c_to_us(client: Client) -> None:
    assert client.scheduler.address.startswith("tls://")
    handlers = client.run(lambda: signal.getsignal(signal.SIGINT))
    assert list(handlers.values()) == [signal.SIG_IGN] * PROCESSES


def test_after_an_interrupt_no_new_host_starts_and_running_ones_end(client: Client, tmp_path: Path) -> None:
    def work(task: Task, folder: str) -> Result:
        Path(folder, task.host.name).touch()
        while not Path(folder, "go").exists():
            time.sleep(0.02)
        return Result(task.host)

    def press() -> None:
        awaited(lambda: len(list(tmp_path.iterdir())) == PROCESSES * THREADS)
        _thread.interrupt_main()
        awaited(lambda: min(client.run(lambda: len(shard._here.stopped)).values()) > before)
        (tmp_path / "go").touch()

    before = max(client.run(lambda: len(shard._here.stopped)).values())
    thread = threading.Thread(target=press)
    thread.start()
    presses: list[int] = []
    it = nornir(client, 40).with_runner(DaskRunner(client=client, on_interrupt=presses.append))
    results = it.run(task=work, folder=str(tmp_path))
    thread.join()
    assert presses == [1]
    assert set(results) == {path.name for path in tmp_path.iterdir()} - {"go"}
    assert len(results) == PROCESSES * THREADS


def test_the_second_interrupt_closes_the_connections_of_what_runs(client: Client, tmp_path: Path) -> None:
    def work(task: Task, folder: str) -> str:
        closed = threading.Event()
        task.host.connections["x"] = cast("Any", SimpleNamespace(connection=None, close=closed.set))
        Path(folder, task.host.name).touch()
        return "closed" if closed.wait(30) else "never"

    def press() -> None:
        awaited(lambda: len(list(tmp_path.iterdir())) == 2)
        _thread.interrupt_main()
        awaited(lambda: presses == [1])
        _thread.interrupt_main()

    presses: list[int] = []
    thread = threading.Thread(target=press)
    thread.start()
    it = nornir(client, 2).with_runner(DaskRunner(client=client, on_interrupt=presses.append))
    results = it.run(task=work, folder=str(tmp_path))
    thread.join()
    assert {name: multi[0].result for name, multi in results.items()} == {"h0": "closed", "h1": "closed"}


def test_a_host_whose_process_dies_has_failed_and_is_not_run_again(client: Client, tmp_path: Path) -> None:
    def work(task: Task, folder: str) -> None:
        with Path(folder, task.host.name).open("a") as file:
            file.write("ran;")
        os._exit(1)

    results = nornir(client, 1).run(task=work, folder=str(tmp_path))
    assert results["h0"].failed
    assert "worker" in str(results["h0"][0].exception)
    assert (tmp_path / "h0").read_text() == "ran;"
