"""What a check is: where it looks, and how it judges what it sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from khw.cluster.spec import Role

if TYPE_CHECKING:
    from khw.cluster.model import Node
    from khw.ssh.connection import Completed, RemoteCommand
    from khw.verify.bench import Bench
    from khw.verify.context import Context

CONTROLLERS = frozenset({Role.CONTROLLER})
ETCD = frozenset({Role.ETCD})
WORKERS = frozenset({Role.WORKER})
NODES = CONTROLLERS | ETCD | WORKERS
ROUTED = frozenset({Role.ROUTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    What one look at one thing gave.

    `ok` is None where the check does not apply (`actual` says why), and where it is a person's to judge (`manual`).

    `subject` tells findings of one check apart (a unit, a pair of workers); `node` is the node that it is about,
    where that is not the node that was asked. `evidence` are lines that were seen (a journal's last, a difference),
    `command` what shows more, where the check's own entry in `khw/explain/book/checks.toml` names another.
    """

    ok: bool | None
    expected: str
    actual: str
    hint: str = ""
    subject: str = ""
    node: str = ""
    evidence: str = ""
    command: str = ""
    manual: bool = False


Ask: TypeAlias = "Callable[[Node, Context], Sequence[RemoteCommand]]"
Judge: TypeAlias = "Callable[[Node, Context, Sequence[Completed]], Iterable[Finding]]"
Look: TypeAlias = "Callable[[Context], Iterable[Finding]]"
LookFromPods: TypeAlias = "Callable[[Context, Bench], Iterable[Finding]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCheck:
    """A check that asks nodes of these roles. All questions to a node travel in one exchange."""

    name: str
    roles: frozenset[Role]
    ask: Ask
    judge: Judge
    smoke: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterCheck:
    """
    A check from the operator's side: kubectl through the load balancer, or the provider.

    Those that ask the `api` are skipped, as all from inside, once the one that `opens` it has failed.
    """

    name: str
    look: Look
    api: bool = True
    opens: bool = False
    smoke: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PodCheck:
    """A check from inside: it uses the test pods."""

    name: str
    look: LookFromPods
    smoke: bool = False


Check: TypeAlias = NodeCheck | ClusterCheck | PodCheck


def last_line(answer: Completed) -> str:
    """Return the last line that a command said, for a finding."""
    lines = (answer.err or answer.out).strip().splitlines()
    return lines[-1][:200] if lines else f"exit code {answer.code} and no word"
