"""
Chapter 5: the kubeconfigs, written where their readers look for them.

On a worker, kubelet and kube-proxy speak to the load balancer. On a controller, everything speaks to the API
server beside it, so that a controller needs no load balancer to work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.certs import kubeconfig
from khw.cluster.spec import Role
from khw.converge.resources import Directory, File

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource
    from khw.secret import Secret

KUBERNETES = "/var/lib/kubernetes"
KUBELET = "/var/lib/kubelet"
KUBE_PROXY = "/var/lib/kube-proxy"
ADMIN = f"{KUBERNETES}/admin.kubeconfig"

CONTROLLER_USERS = {
    "kube-controller-manager": "system:kube-controller-manager",
    "kube-scheduler": "system:kube-scheduler",
    "admin": "admin",
}


def resources(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
    """Yield the kubeconfigs of this node."""
    if Role.CONTROLLER in node.roles:
        yield Directory(path=KUBERNETES)
        for identity, user in CONTROLLER_USERS.items():
            content = _render(cluster, pki, identity, user, server=local_url(cluster))
            yield File(path=f"{KUBERNETES}/{identity}.kubeconfig", content=content, mode=0o600, masked=True)
    if Role.WORKER not in node.roles:
        return
    users = (
        (KUBELET, 0o750, f"kubelet-{node.name}", f"system:node:{node.name}"),
        (KUBE_PROXY, 0o755, "kube-proxy", "system:kube-proxy"),
    )
    for directory, mode, identity, user in users:
        yield Directory(path=directory, mode=mode)
        content = _render(cluster, pki, identity, user, server=cluster.api_url)
        yield File(path=f"{directory}/kubeconfig", content=content, mode=0o600, masked=True)


def remote_admin(cluster: Cluster, pki: Pki) -> Secret:
    """Return chapter 10's kubeconfig: the administrator's, through the load balancer."""
    return _render(cluster, pki, "admin", "admin", server=cluster.api_url)


def local_url(cluster: Cluster) -> str:
    """Return where a controller reaches its own API server."""
    return f"https://127.0.0.1:{cluster.network.api_port}"


def _render(cluster: Cluster, pki: Pki, identity: str, user: str, *, server: str) -> Secret:
    return kubeconfig.render(
        server=server,
        ca=pki.authority("kubernetes").certificate,
        pair=pki.pair(identity),
        user=user,
        cluster_name=cluster.name,
    )
