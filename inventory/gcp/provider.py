"""
The provider `gcp`: machines, load balancer and routes in a project of Google Cloud.

One code for Google and for the lab: only the cluster file's endpoint and credentials differ
(docs/decisions/0012-provider.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.errors import DiffersError, UsageError
from khw.inventory.gcp import balancer, compute, destroy, discovery, expected, firewall, preflight, routes
from khw.inventory.gcp.clients import Api
from khw.inventory.gcp.machine import CLUSTER_LABEL
from khw.inventory.gcp.operations import last
from khw.inventory.gcp.wanted import ensure
from khw.inventory.gcp.zones import zones_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from khw.checks import CheckResult
    from khw.cluster.model import Cluster
    from khw.cluster.spec import Spec
    from khw.converge.changes import Change
    from khw.inventory.provider import FirewallRule, Route


class GcpProvider:
    """The cluster's machines, load balancer and routes in the project that the cluster file names."""

    def __init__(self, spec: Spec, ssh_public_key: str) -> None:
        if spec.gcp is None:
            raise UsageError("the cluster file has no section 'gcp'", hint="`khw init` writes one")
        self.spec = spec
        self._key = ssh_public_key
        self.api = Api(spec.gcp, timeout=spec.timeouts.cloud)

    def stop(self) -> None:
        """End every wait at once; operations that were begun go on without khw."""
        self.api.stopped.set()

    def look_ahead(self, phases: Collection[str]) -> None:
        """Begin to read what these phases and discovery will ask for."""
        self.api.expect(expected.readings(self.api, self.spec, phases))

    def preflight(self) -> Sequence[CheckResult]:
        """Chapter 1: credentials, project, region, zone, machine types, images and quotas."""
        return preflight.preflight(self.api, self.spec)

    def ensure_compute(self, *, check: bool = False) -> Sequence[Change]:
        """Chapter 3: network, subnet, firewall rules, address and machines; no stopped machine is started."""
        self._refuse_strangers()
        return ensure(self.api, compute.wanted(self.spec, self.api, self._key), check=check)

    def _refuse_strangers(self) -> None:
        """Name a machine of the cluster's that the file does not ask for, or not there: khw removes none itself."""
        zones = zones_of(self.spec, self.api.gcp)
        found = self.api.labelled(CLUSTER_LABEL, self.spec.name)
        strangers = [row for row in found if zones.get(str(row.name)) != last(row.zone)]
        if strangers:
            told = "\n".join(self._stranger(str(row.name), last(row.zone), zones) for row in strangers)
            removals = "; ".join(
                f"gcloud compute instances delete {row.name} --zone {last(row.zone)} --project {self.api.gcp.project}"
                for row in strangers
            )
            raise DiffersError(told, hint=f"make the cluster file ask for it there again, or `{removals}`")

    def _stranger(self, name: str, zone: str, zones: Mapping[str, str]) -> str:
        if name in zones:
            return f"instance {name} exists and differs: zone is {zone}, expected {zones[name]}"
        return f"instance {name} is labelled as cluster {self.spec.name}'s and is not in the cluster file"

    def discover(self) -> Cluster:
        """Return the cluster with its machines as they are now."""
        with self.api.expecting(discovery.expected(self.api, self.spec)):
            return discovery.discover(self.api, self.spec)

    def foresee(self) -> Cluster:
        """Return the cluster with its machines as they are now, and as they will be made."""
        with self.api.expecting(discovery.expected(self.api, self.spec)):
            return discovery.foresee(self.api, self.spec)

    def ensure_load_balancer(self, cluster: Cluster, *, check: bool = False) -> Sequence[Change]:
        """Chapter 8: instance groups, health check, backend service, forwarding rule, the checkers' firewall rule."""
        return balancer.ensure_balancer(self.api, cluster, check=check)

    def ensure_routes(self, cluster: Cluster, *, check: bool = False) -> Sequence[Change]:
        """Chapter 11: a route for each worker's pod CIDR."""
        return routes.ensure_routes(self.api, cluster, check=check)

    def routes(self) -> Sequence[Route]:
        """Return the network's route table, default routes included."""
        return routes.table(self.api, self.spec)

    def firewall(self) -> Sequence[FirewallRule]:
        """Return the network's firewall rules, those of others too."""
        return firewall.rules(self.api, self.spec)

    def destroy(self) -> Sequence[Change]:
        """Chapter 14: remove what the ensures made, each as soon as nothing uses it."""
        return destroy.destroy(self.api, self.spec)

    def foretell(self) -> tuple[Sequence[Change], Sequence[str]]:
        """Return what `destroy` would remove, and what would stay, with a word why."""
        going, staying = destroy.foretell(self.api, self.spec)
        return going, [str(row) for row in staying]

    def leftovers(self) -> Sequence[str]:
        """Return what there is of the cluster in the project, with a word where khw did not make it."""
        return [str(row) for row in destroy.left(self.api, self.spec)]
