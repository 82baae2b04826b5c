"""The benchmark as checks: the nodes' sections in each node's one exchange, the policies beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.cluster.spec import Role
from khw.errors import UsageError
from khw.verify.check import NODES, Check, ClusterCheck, Finding, NodeCheck
from khw.verify.cis import control_plane, etcd, objects, policies, seen, worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.cluster.model import Node
    from khw.ssh.connection import Completed, RemoteCommand
    from khw.verify.cis.control import NodeControl
    from khw.verify.context import Context

NAME = "CIS Kubernetes Benchmark"
VERSION = "1.12"
CHECK = "cis"
SECTIONS = {
    "1.1": "the control plane's files",
    "1.2": "the API server",
    "1.3": "the controller manager",
    "1.4": "the scheduler",
    "2": "etcd",
    "3.1": "who logs in",
    "3.2": "the audit log",
    "4.1": "a worker's files",
    "4.2": "the kubelet",
    "4.3": "kube-proxy",
    "5.1": "rights and service accounts",
    "5.2": "what pods may ask for",
    "5.3": "the pods' network",
    "5.4": "Secrets",
    "5.5": "images",
    "5.6": "objects",
}
ETCDS_FILES = ("1.1.7", "1.1.8", "1.1.11", "1.1.12")  # listed with the control plane's, and on etcd's machines
BY_ROLE: dict[Role, tuple[NodeControl, ...]] = {
    Role.CONTROLLER: tuple(c for c in control_plane.CONTROLS if c.number not in ETCDS_FILES),
    Role.ETCD: (*(c for c in control_plane.CONTROLS if c.number in ETCDS_FILES), *etcd.CONTROLS),
    Role.WORKER: (*control_plane.NETWORK_FILES, *worker.CONTROLS),
}
NUMBERS = tuple(control.number for table in (control_plane, etcd, worker, policies) for control in table.CONTROLS)


def select(names: Sequence[str] = ()) -> tuple[Check, ...]:
    """Return the checks of these recommendations or sections (1.2, 4, 5.1.3); all, without a name."""
    numbers = {number for number in NUMBERS if not names or any(_is_in(number, name) for name in names)}
    for name in names:
        if not any(_is_in(number, name) for number in NUMBERS):
            msg = f"the benchmark's version {VERSION} has no {name}"
            raise UsageError(msg, hint="a recommendation's number or a section's: 1.2.1, 1.2, 4")

    def judge(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
        said = seen.parse(answers)
        return [control.finding(said) for control in _of(node) if control.number in numbers]

    def look(context: Context) -> Iterable[Finding]:
        said = objects.ask(context.kubectl)
        return [control.finding(said) for control in policies.CONTROLS if control.number in numbers]

    of_nodes = any(control.number in numbers for table in BY_ROLE.values() for control in table)
    of_objects = any(control.number in numbers for control in policies.CONTROLS)
    return (
        *((NodeCheck(name=CHECK, roles=NODES, ask=_ask, judge=judge),) if of_nodes else ()),
        *((ClusterCheck(name=CHECK, look=look),) if of_objects else ()),
    )


def _of(node: Node) -> Iterable[NodeControl]:
    """Return the controls of all of a node's roles, each once."""
    mine = (control for role, controls in BY_ROLE.items() if role in node.roles for control in controls)
    return {control.number: control for control in mine}.values()


def order(number: str) -> tuple[int, ...]:
    """Return what numbers are sorted by."""
    return tuple(int(part) for part in number.split("."))


def section(number: str) -> str:
    """Return the section that a recommendation belongs to."""
    return next(name for name in SECTIONS if _is_in(number, name))


def _ask(node: Node, context: Context) -> Sequence[RemoteCommand]:
    del node, context
    return seen.ask()


def _is_in(number: str, name: str) -> bool:
    return number == name or number.startswith(f"{name}.")
