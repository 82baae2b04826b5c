"""The provider `static`: machines of the user's own, as the cluster file lists them. It makes and removes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.cluster.model import Cluster, Node
from khw.errors import UsageError
from khw.inventory.ssh_config import known_keys, login_to
from khw.ssh.known_hosts import SSH_PORT

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from khw.checks import CheckResult
    from khw.cluster.spec import Spec, StaticNode
    from khw.converge.changes import Change
    from khw.inventory.provider import FirewallRule, Route
    from khw.inventory.ssh_config import Login


class StaticProvider:
    """
    The machines that the cluster file lists, with the host keys that it or the user's known_hosts lists.

    It makes nothing from outside: a balancer and routes that khw is to make are tasks on the nodes (chapters 8 and 11).
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
        login = login_to(row, self._spec.ssh)
        keys = tuple(" ".join(key.split()[:2]) for key in row.host_keys) or known_keys(login)
        return Node(
            name=row.name,
            role=row.role,
            internal_ip=str(row.address),
            pod_cidr=str(row.pod_cidr) if row.pod_cidr else None,
            ssh_host=login.host,
            ssh_port=login.port,
            ssh_user=login.user,
            ssh_key=login.key,
            ssh_jump=login.jump,
            unreachable="" if keys else _never_met(row, login),
            also=self._static.also(row.role),
            host_keys=keys,
        )

    def ensure_load_balancer(
        self,
        cluster: Cluster,
        *,
        check: bool = False,
    ) -> Sequence[Change]:
        """It is the user's own, or made on the controllers by a task."""
        return []

    def ensure_routes(
        self,
        cluster: Cluster,
        *,
        check: bool = False,
    ) -> Sequence[Change]:
        """They are in the user's own router, or on the nodes by a task."""
        return []

    def routes(self) -> Sequence[Route]:
        """Nothing is known of the user's own router."""
        return []

    def firewall(self) -> Sequence[FirewallRule]:
        """Nothing is known of the user's own firewalls."""
        return []

    def destroy(self) -> Sequence[Change]:
        """Khw made no machine, so it removes none."""
        return []

    def foretell(self) -> tuple[Sequence[Change], Sequence[str]]:
        """Nothing goes, and nothing of khw's is in any project."""
        return [], []

    def leftovers(self) -> Sequence[str]:
        """Nothing of khw's is in any project."""
        return []


def _never_met(row: StaticNode, login: Login) -> str:
    """Say what first contact with a machine is: its owner's, who compares the fingerprint."""
    port = f" -p {login.port}" if login.port != SSH_PORT else ""
    jump = f" -J {login.jump}" if login.jump else ""
    return (
        f"no host key is known for it, and none is trusted on first use: make the first contact yourself, "
        f"`ssh{jump}{port} {login.user}@{login.host}`, and compare the fingerprint with the one on its console "
        f"(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub); or list its keys as host_keys of {row.name}"
    )
