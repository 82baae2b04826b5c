"""What a drill works on: the cluster's nodes over SSH, its project through the provider's API, kubectl."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from khw.errors import StepError, UsageError
from khw.secret import Secret
from khw.ssh.connection import RemoteCommand

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.certs.authority import Pair
    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster, Node
    from khw.inventory.gcp.provider import GcpProvider
    from khw.kubectl import Kubectl
    from khw.verify import Context


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A cluster with agents on its nodes. `folder` keeps what only this drill must remember, for its owner's eyes."""

    context: Context
    folder: Path

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        return self.context.cluster

    @property
    def pki(self) -> Pki:
        """Its authorities and certificates."""
        return self.context.pki

    @property
    def kubectl(self) -> Kubectl:
        """The administrator's kubectl, through the load balancer."""
        return self.context.kubectl

    @property
    def project(self) -> GcpProvider:
        """The cloud project; UsageError if there is none."""
        from khw.inventory.gcp.provider import GcpProvider

        if not isinstance(self.context.provider, GcpProvider):
            raise UsageError("this drill breaks something in a cloud project, and the cluster has none")
        return self.context.provider

    def within_reach(self, nodes: Iterable[Node]) -> list[Node]:
        """Return those of these nodes that answer."""
        return [node for node in nodes if node.name in self.context.agents]

    def sh(self, node: str, script: str, *, stdin: bytes | Secret | None = None, timeout: float = 60.0) -> str:
        """Return what a shell script prints that is run as root on a node; StepError if it fails."""
        code, out, err = self.tried(node, script, stdin=stdin, timeout=timeout)
        if code:
            raise StepError(
                f"the script ended with exit code {code}: {(err or out).strip().splitlines()[-1:]}",
                node=node,
                evidence=err,
                hint="khw drill stop puts the cluster right again",
            )
        return out

    def tried(
        self, node: str, script: str, *, stdin: bytes | Secret | None = None, timeout: float = 60.0
    ) -> tuple[int, str, str]:
        """Return how a shell script ended on a node: its exit code, and what it said."""
        agent = self.context.agents.get(node)
        if agent is None:
            why = self.context.unreachable.get(node, "there is no such node")
            return 255, "", f"{node} is not within reach: {why}"
        data = stdin.reveal() if isinstance(stdin, Secret) else stdin
        command = RemoteCommand(("sh", "-c", script), stdin=data, timeout=timeout)
        (done,) = agent.run(command, timeout=timeout + 5.0)
        return done.code, done.out, done.err

    def put(self, node: str, path: str, content: bytes | str | Secret, *, mode: int = 0o644) -> None:
        """Write a file on a node, beside its place and renamed into it."""
        data = content if isinstance(content, Secret) else Secret(content)
        place, new = shlex.quote(path), shlex.quote(f"{path}.new")
        self.sh(node, f"umask 077 && cat >{new} && chmod {mode:o} {new} && mv {new} {place}", stdin=data)

    def put_pair(self, node: str, path: str, pair: Pair) -> None:
        """Write a certificate and its key: PATH.pem and PATH-key.pem."""
        self.put(node, f"{path}.pem", pair.certificate)
        self.put(node, f"{path}-key.pem", pair.key, mode=0o600)
