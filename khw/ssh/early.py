"""
Logins that begin before the provider has said where the machines are: where they were, or are listed.

A run asks its provider first, and that takes as long as all logins together; so both go on at the same time. Nothing
is taken on trust: the host keys are those that the provider published then, and a login is used only if the provider
says the same of the machine now. Whatever fails here is done again in the ordinary way, which knows what to say.
"""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from khw.cluster.model import Facts, Node
from khw.cluster.spec import Role
from khw.engine import bounds
from khw.errors import KhwError, UnreachableError
from khw.files import write_private
from khw.ssh import libraries
from khw.ssh.connection import KhwConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from khw.cluster.spec import Spec
    from khw.cluster.workspace import Workspace
    from khw.ssh.client import Agent

FRESH = 30.0  # seconds for which a login that nobody has used yet is as good as a new one
NOT_KEPT = ("facts", "exists", "unreachable", "also")


def remember(workspace: Workspace, nodes: Iterable[Node]) -> None:
    """Keep where these machines are, for the next run's logins."""
    rows = [{key: value for key, value in asdict(node).items() if key not in NOT_KEPT} for node in nodes if _fit(node)]
    text = json.dumps(rows, indent=1).encode()
    if not (workspace.machines.exists() and workspace.machines.read_bytes() == text):
        write_private(workspace.machines, text)


def remembered(workspace: Workspace) -> tuple[Node, ...]:
    """Return the machines as they were at the last run; none if that is not known, or not readable."""
    try:
        rows = json.loads(workspace.machines.read_bytes())
        return tuple(_node(row) for row in rows)
    except (OSError, ValueError, TypeError, KeyError):
        return ()


def _node(row: Mapping[str, Any]) -> Node:
    keys = {name: tuple(row[name]) for name in ("host_keys", "jump_keys")}
    return Node(**{**row, **keys, "role": Role(row["role"])})


def _fit(node: Node) -> bool:
    return bool(node.exists and not node.unreachable and node.ssh_host and node.host_keys)


@dataclass(frozen=True, slots=True)
class _Login:
    node: Node
    agent: Future[Agent]
    began: float


class EarlyLogins:
    """Logins to machines of the last run, in threads of their own; those that nobody takes are closed by `close`."""

    def __init__(self) -> None:
        self._logins: dict[str, _Login] = {}
        self._lock = threading.Lock()

    def begin(self, spec: Spec, workspace: Workspace, wanted: Callable[[str], bool]) -> None:
        """Begin to log in to those of these machines that are known; no more than once."""
        from khw.inventory.keys import login_key
        from khw.inventory.logins import netmiko_options, node_options

        nodes = [node for node in _known(spec, workspace) if wanted(node.name)][: bounds.LOGINS]
        if self._logins or not nodes:
            return
        key = login_key(spec, workspace, check=True)
        if not key.exists():
            return
        options = netmiko_options(spec, key, workspace.known_hosts)
        libraries.load()  # here, so that the first login does not share the time with whatever comes next
        for node in nodes:
            login = _Login(node, Future(), time.monotonic())
            self._logins[node.name] = login
            arguments = (login.agent, node, node_options(spec, node, options))
            threading.Thread(target=_log_in, args=arguments, name=f"early-{node.name}", daemon=True).start()

    def take(self, node: Node) -> Agent | None:
        """
        Return the agent of this machine, if the login was begun and the machine is what it was.

        A login that is still on its way is waited for, and its error is the caller's; one that has failed already
        says nothing about the machine as it is now.
        """
        with self._lock:
            login = self._logins.pop(node.name, None)
        if login is None:
            return None
        same = replace(node, facts=Facts()) == login.node
        old = time.monotonic() - login.began > FRESH
        if not same or old or (login.agent.done() and login.agent.exception()):
            _abandon(login)
            return None
        return login.agent.result()

    def close(self) -> None:
        """Close every login that was not taken, those on their way too as soon as they are there."""
        with self._lock:
            left, self._logins = list(self._logins.values()), {}
        for login in left:
            _abandon(login)


def _known(spec: Spec, workspace: Workspace) -> tuple[Node, ...]:
    """Return the machines as far as they are known without asking anybody."""
    if spec.provider == "static":
        from khw.inventory.static import StaticProvider

        return tuple(filter(_fit, StaticProvider(spec).discover().nodes))
    return remembered(workspace)


def _log_in(agent: Future[Agent], node: Node, options: Mapping[str, Any]) -> None:
    connection = KhwConnection()
    try:
        connection.open(node.ssh_host, node.ssh_user, None, node.ssh_port, libraries.NODE, dict(options))
        agent.set_result(connection.connection)
    except KhwError as error:
        agent.set_exception(error)
    except Exception as error:  # noqa: BLE001 - the ordinary login, which comes next, says what it is
        agent.set_exception(UnreachableError(str(error), node=node.name))


def _abandon(login: _Login) -> None:
    """Close it as soon as it is there."""

    def close(agent: Future[Agent]) -> None:
        if agent.exception() is None:
            agent.result().kill()

    login.agent.add_done_callback(close)
