"""What tests of several packages share: a cluster from the defaults, with no machine behind it."""

from __future__ import annotations

from khw.cluster import Cluster, Node, Spec


def cluster(spec: Spec | None = None, *, api_address: str = "198.51.100.100") -> Cluster:
    spec = spec or Spec()
    nodes = tuple(
        Node(
            name=planned.name,
            role=planned.role,
            internal_ip=str(planned.address),
            external_ip=f"198.51.100.{int(planned.address) & 0xFF}",
            pod_cidr=str(planned.pod_cidr) if planned.pod_cidr else None,
        )
        for planned in spec.planned
    )
    return Cluster(spec, nodes, api_address)
