"""Logins before discovery: used only for the machine that they were meant for."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from khw.cluster.model import Facts, Node
from khw.cluster.spec import Gcp, Role, Spec, Static, StaticNode
from khw.cluster.workspace import Workspace
from khw.errors import UnreachableError
from khw.inventory.static import StaticProvider
from khw.ssh import early
from khw.ssh.early import EarlyLogins, remember, remembered

if TYPE_CHECKING:
    from pathlib import Path

SPEC = Spec(gcp=Gcp(project="a-project"))
NODE = Node(
    name="worker-0",
    role=Role.WORKER,
    internal_ip="10.240.0.20",
    ssh_host="127.0.0.1",
    host_keys=("ssh-ed25519 AAAA",),
)


class Logins:
    """Stands in for SSH: each login waits until it is let in, or refused."""

    def __init__(self) -> None:
        self.let_in = threading.Event()
        self.error: Exception | None = None
        self.opened: list[Any] = []
        self.killed: list[str] = []
        self.ended = threading.Semaphore(0)

    def open(self, connection: Any, hostname: str, *_: object) -> None:
        assert self.let_in.wait(10)
        if self.error:
            self.ended.release()
            raise self.error
        connection.connection = SimpleNamespace(kill=lambda: self.killed.append(hostname))
        self.opened.append(connection.connection)
        self.ended.release()


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> Logins:
    it = Logins()

    def opens(connection: Any, hostname: str, *rest: object) -> None:
        it.open(connection, hostname, *rest)

    monkeypatch.setattr(early.KhwConnection, "open", opens)
    return it


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    it = Workspace.beside(tmp_path / "khw.yaml", "test")
    assert it.ssh_key.exists()
    remember(it, [NODE])
    return it


def begun(workspace: Workspace) -> EarlyLogins:
    it = EarlyLogins()
    it.begin(SPEC, workspace, lambda name: name == NODE.name)
    return it


def eventually_done(it: EarlyLogins) -> None:
    """Wait for the end of the login itself; `take` must then find it done."""
    it._logins[NODE.name].agent.exception(timeout=10)


def test_what_was_discovered_is_remembered_without_what_passes(workspace: Workspace) -> None:
    seen = replace(NODE, facts=Facts(kernel="6.1"))
    gone = replace(NODE, name="worker-1", unreachable="its instance is TERMINATED")
    planned = replace(NODE, name="worker-2", exists=False)
    remember(workspace, [seen, gone, planned])
    assert remembered(workspace) == (NODE,)
    assert workspace.machines.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"[1]", b'[{"name": "worker-0"}]', b'{"a": 1}', b"\xff"])
def test_what_cannot_be_read_is_not_known(workspace: Workspace, content: bytes) -> None:
    workspace.machines.write_bytes(content)
    assert remembered(workspace) == ()


def test_a_login_on_its_way_is_waited_for_and_used(workspace: Workspace, logins: Logins) -> None:
    it = begun(workspace)
    threading.Timer(0.05, logins.let_in.set).start()
    assert it.take(replace(NODE, facts=Facts(kernel="6.1"))) is logins.opened[0]
    assert it.take(NODE) is None
    it.close()
    assert logins.killed == []


@pytest.mark.parametrize(
    "now", [{"host_keys": ("ssh-ed25519 BBBB",)}, {"ssh_host": "127.0.0.2"}, {"ssh_port": 2222}, {"ssh_user": "root"}]
)
def test_a_machine_that_is_another_now_is_not_met_by_its_old_login(
    workspace: Workspace, logins: Logins, now: dict[str, Any]
) -> None:
    logins.let_in.set()
    it = begun(workspace)
    eventually_done(it)
    assert it.take(replace(NODE, **now)) is None
    assert logins.killed == [NODE.ssh_host]


def test_a_login_that_failed_before_it_was_asked_for_says_nothing(workspace: Workspace, logins: Logins) -> None:
    logins.error = UnreachableError("refused", node=NODE.name)
    logins.let_in.set()
    it = begun(workspace)
    eventually_done(it)
    assert it.take(NODE) is None


def test_a_login_that_fails_while_it_is_waited_for_has_failed(workspace: Workspace, logins: Logins) -> None:
    logins.error = UnreachableError("refused", node=NODE.name)
    it = begun(workspace)
    threading.Timer(0.05, logins.let_in.set).start()
    with pytest.raises(UnreachableError, match="refused"):
        it.take(NODE)


def test_a_login_that_nobody_used_for_long_is_not_used(
    workspace: Workspace, logins: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins.let_in.set()
    it = begun(workspace)
    eventually_done(it)
    monkeypatch.setattr(early, "FRESH", -1.0)
    assert it.take(NODE) is None
    assert logins.killed == [NODE.ssh_host]


def test_what_is_left_is_closed_even_if_it_comes_later(workspace: Workspace, logins: Logins) -> None:
    it = begun(workspace)
    it.close()
    assert logins.killed == []
    logins.let_in.set()
    assert logins.ended.acquire(timeout=10)
    for thread in threading.enumerate():
        if thread.name == f"early-{NODE.name}":
            thread.join(10)
    assert logins.killed == [NODE.ssh_host]


def test_nobody_logs_in_to_what_is_not_asked_for(workspace: Workspace, logins: Logins) -> None:
    it = EarlyLogins()
    it.begin(SPEC, workspace, lambda name: name == "controller-0")
    logins.let_in.set()
    assert it.take(NODE) is None
    assert logins.opened == []


def test_a_listed_machine_needs_no_run_before_it(workspace: Workspace, logins: Logins) -> None:
    row = StaticNode(name="own-1", role=Role.WORKER, address="10.0.0.5", host_keys=("ssh-ed25519 AAAA",))
    spec = Spec(provider="static", static=Static(api_address="10.0.0.9", nodes=(row,)))
    it = EarlyLogins()
    it.begin(spec, workspace, lambda _name: True)
    logins.let_in.set()
    (node,) = StaticProvider(spec).discover().nodes
    assert it.take(node) is logins.opened[0]


def test_before_there_is_a_key_nobody_tries(workspace: Workspace, logins: Logins) -> None:
    workspace.ssh_key_file.unlink()
    it = begun(workspace)
    logins.let_in.set()
    assert it.take(NODE) is None
    assert logins.opened == []


def test_a_second_beginning_begins_nothing_more(workspace: Workspace, logins: Logins) -> None:
    it = begun(workspace)
    it.begin(SPEC, workspace, lambda _name: True)
    logins.let_in.set()
    assert it.take(NODE) is logins.opened[0]
    assert len(logins.opened) == 1
