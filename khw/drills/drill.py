"""What a drill is: a story, hints, a failure that is made, a repair that is known to work, and how that is seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from khw.cluster.model import Cluster, Node
    from khw.drills.ground import Ground

Values: TypeAlias = Mapping[str, str]
"""What stands for {worker}, {controller} and so on in stories, hints and commands."""

Break: TypeAlias = "Callable[[Ground, Values], None]"
Find: TypeAlias = "Callable[[Ground], Values]"


def _nothing(_ground: Ground, _values: Values) -> None:
    """Leave it to `khw run`, which puts right what it has put there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """The root cause as `khw verify` names it (`khw.verify.causes`): its id, and a node that it is on."""

    id: str
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """
    One failure.

    `repair` are shell lines, typed where khw.yaml is, with khw and kubectl on PATH; they are the last hint. `proof` are
    the checks of `khw verify` that look at the effect, so that any way of repairing passes them. `find` is for what
    must be looked up before it is broken; `mend` takes away what a run does not, from any state, as often as you like.
    """

    name: str
    title: str
    chapter: int
    story: str
    hints: tuple[str, ...]
    repair: tuple[str, ...]
    cause: Cause
    proof: tuple[str, ...]
    make: Break
    mend: Break = _nothing
    find: Find | None = None
    controllers: int = 1
    workers: int = 1
    members: int = 1  # of etcd
    stacked: bool = False  # it is about etcd on the controllers
    project: bool = False  # it breaks something in the cloud project: there must be one

    def told(self, values: Values) -> str:
        """Return the story with the cluster's own names."""
        return self.story.strip().format_map(values)

    def steps(self, values: Values) -> tuple[str, ...]:
        """Return all hints; the last one is the whole repair."""
        last = "\n    ".join(("The whole repair:", *self.commands(values)))
        return (*(hint.strip().format_map(values) for hint in self.hints), last)

    def commands(self, values: Values) -> tuple[str, ...]:
        """Return the repair's lines."""
        return tuple(line.format_map(values) for line in self.repair)


def values_of(cluster: Cluster) -> dict[str, str]:
    """Return what every story may name. `last` is the last controller, `controller` the first."""
    first, last = cluster.controllers[0], cluster.controllers[-1]
    worker, other = cluster.workers[0], cluster.workers[-1]
    return {
        "controller": first.name,
        "controller_ip": first.internal_ip,
        "last": last.name,
        "last_ip": last.internal_ip,
        "controllers": " ".join(node.name for node in cluster.controllers),
        "each_controller": ", ".join(node.name for node in cluster.controllers),
        "worker": worker.name,
        "worker_ip": worker.internal_ip,
        "pod_cidr": worker.pod_cidr or "",
        "other_worker": other.name,
        "api_address": cluster.api_address,
        "api_url": cluster.api_url,
        "port": str(cluster.network.api_port),
        "service_address": str(cluster.network.service_address),
        "dns_address": str(cluster.network.dns_address),
        "domain": cluster.network.dns_domain,
        "network": cluster.network.name,
        "provider": cluster.spec.encryption.provider,
        "start_url": _start_url(cluster, last),
        "etcdctl": ETCDCTL,
    }


ETCDCTL = (
    "sudo etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/etcd/ca.pem"
    " --cert=/etc/etcd/kubernetes.pem --key=/etc/etcd/kubernetes-key.pem"
)
"""etcdctl as the guide types it where etcd is."""


def _start_url(cluster: Cluster, machine: Node) -> str:
    """Return where the Compute Engine API starts a machine."""
    gcp = cluster.spec.gcp
    if gcp is None:
        return ""
    endpoint = gcp.endpoint or "https://compute.googleapis.com"
    return (
        f"{endpoint}/compute/v1/projects/{gcp.project}/zones/{machine.zone or gcp.zone}/instances/{machine.name}/start"
    )
