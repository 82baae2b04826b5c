"""Chapter 9, third part: kube-proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.converge.resources import Directory, File, Unit
from khw.tasks import units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource

HOME = "/var/lib/kube-proxy"
CONFIG = f"{HOME}/kube-proxy-config.yaml"
KUBECONFIG = f"{HOME}/kubeconfig"

SANDBOX: units.Options = {
    "NoNewPrivileges": True,
    "ProtectSystem": "full",
    "ProtectHome": True,
    "ProtectClock": True,
    "ProtectHostname": True,
    "ProtectControlGroups": True,
    "ProtectKernelLogs": True,
    "PrivateDevices": True,
    "PrivateTmp": True,
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "RestrictNamespaces": True,
    "RestrictRealtime": True,
    "RestrictSUIDSGID": True,
    "LockPersonality": True,
    "MemoryDenyWriteExecute": True,
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service @module",
    "CapabilityBoundingSet": "CAP_NET_ADMIN CAP_NET_RAW CAP_SYS_MODULE CAP_SYS_RESOURCE",
    "UMask": "0077",
}
"""
It writes packet filter rules and /proc/sys/net, makes itself hard to kill when memory runs out, and iptables may load
kernel modules; it needs no more.
"""


def kube_proxy(node: Node, cluster: Cluster) -> Iterator[Resource]:
    """Yield what kube-proxy reads, and its unit."""
    yield Directory(path=HOME)
    yield File(path=CONFIG, content=config(node, cluster))
    yield Unit(
        name="kube-proxy.service",
        content=unit(),
        inputs=("/usr/local/bin/kube-proxy", CONFIG, KUBECONFIG),
    )


def config(node: Node, cluster: Cluster) -> str:
    """Return kube-proxy-config.yaml. The mode is always named: without one kube-proxy warns."""
    conntrack = "" if node.facts.can_set_conntrack else "conntrack:\n  maxPerCore: 0\n"
    return f"""\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection:
  kubeconfig: {KUBECONFIG}
clusterCIDR: {cluster.network.cluster_cidr}
{conntrack}hostnameOverride: {node.name}
mode: {cluster.spec.proxy.mode}
"""


def unit() -> str:
    """Return kube-proxy.service."""
    return units.render(
        description="Kubernetes Kube Proxy",
        documentation="https://kubernetes.io/docs/reference/command-line-tools-reference/kube-proxy/",
        binary="/usr/local/bin/kube-proxy",
        flags={"config": CONFIG},
        unit={"After": "network.target"},
        restart="always",
        sandbox=SANDBOX,
    )
