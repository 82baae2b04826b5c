"""The provider `static`: machines of the user's own, as the cluster file lists them. It makes and removes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.cluster.model import Cluster, Node
from khw.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from khw.checks import CheckResult
    from khw.cluster.model import Spec, StaticNode
    from khw.converge.changes import Change
    from khw.inventory.provider import Route


class StaticProvider:
    """
    The machines that the cluster file lists, with the host keys that it lists.

    The user's own load balancer answers at `static.api_address`, and the user's own router has the pod routes.
    """

    def __init__(self, spec: Spec) -> None:
        if spec.static is None:
            raise UsageError("the cluster file has no section 'static'", hint="`khw init` writes an example")
        self._spec = spec
        self._static = spec.static

    def stop(self) -> None:
        """Nothing waits here."""

    def look_ahead(self, phases: Collection[str]) -> None:
        """All that there is to know is in the cluster file."""

    def preflight(self) -> Sequence[CheckResult]:
        """Nothing to look at before the nodes themselves are."""
        return []

    def ensure_compute(self, *, check: bool = False) -> Sequence[Change]:
        """The machines are there."""
        return []

    def discover(self) -> Cluster:
        """Return the cluster as it is listed."""
        rows = sorted(self._static.nodes, key=lambda node: node.role)
        return Cluster(
            spec=self._spec,
            nodes=tuple(self._node(row) for row in rows),
            api_address=self._static.api_address,
        )

    def foresee(self) -> Cluster:
        """The machines are there."""
        return self.discover()

    def _node(self, row: StaticNode) -> Node:
        return Node(
            name=row.name,
            role=row.role,
            internal_ip=str(row.address),
            pod_cidr=str(row.pod_cidr) if row.pod_cidr else None,
            ssh_host=row.host or str(row.address),
            ssh_port=row.port,
            ssh_user=row.user or self._spec.ssh.user,
            host_keys=tuple(" ".join(key.split()[:2]) for key in row.host_keys),
        )

    def ensure_load_balancer(
        self,
        cluster: Cluster,
        *,
        check: bool = False,
    ) -> Sequence[Change]:
        """The load balancer is the user's own."""
        return []

    def ensure_routes(
        self,
        cluster: Cluster,
        *,
        check: bool = False,
    ) -> Sequence[Change]:
        """The routes are in the user's own router."""
        return []

    def routes(self) -> Sequence[Route]:
        """Nothing is known of the user's own router."""
        return []

    def destroy(self, *, check: bool = False) -> Sequence[Change]:
        """Khw made no machine, so it removes none."""
        return []

    def leftovers(self) -> Sequence[str]:
        """Nothing of khw's is in any project."""
        return []
