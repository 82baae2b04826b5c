"""Chapter 9, second part: the kubelet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.converge.resources import Command, Directory, File, Unit
from khw.tasks import units
from khw.tasks.containerd import SOCKET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource

HOME = "/var/lib/kubelet"
CONFIG = f"{HOME}/kubelet-config.yaml"
KUBECONFIG = f"{HOME}/kubeconfig"
RESOLVER = f"{HOME}/resolv.conf"
POD_PROCESSES = 4096  # one pod cannot take every process number of its machine
CLIENT_CA = "/var/lib/kubernetes/ca.pem"


SANDBOX: units.Options = {
    "LockPersonality": True,
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "RestrictRealtime": True,
    "SystemCallArchitectures": "native",
    "CapabilityBoundingSet": "~CAP_SYS_TIME CAP_SYS_BOOT CAP_SYS_PACCT CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_MAC_ADMIN",
}
"""
What can be taken from it. It mounts volumes that the machine must see, so it has no file system of its own, and it sets
owners and set-group-id bits on them. Pods are containerd's children and have none of this.
"""


def kubelet(node: Node, cluster: Cluster) -> Iterator[Resource]:
    """Yield what the kubelet reads, and its unit."""
    yield Directory(path=HOME, mode=0o750)
    yield _resolver()
    yield File(path=CONFIG, content=config(node, cluster), mode=0o600)
    yield Unit(
        name="kubelet.service",
        content=unit(node),
        inputs=(
            "/usr/local/bin/kubelet",
            CONFIG,
            KUBECONFIG,
            CLIENT_CA,
            f"{HOME}/{node.name}.pem",
            f"{HOME}/{node.name}-key.pem",
        ),
    )


def config(node: Node, cluster: Cluster) -> str:
    """
    Return kubelet-config.yaml.

    In a container, swap is the host's to have (chapter 9 leaves it alone), and pods are still given none of it.
    Images are pushed by khw, not pulled, so none is ever collected (imageGCHighThresholdPercent: 100).
    """
    network = cluster.network
    cgroup = "cgroupDriver: systemd\n" if node.facts.cgroup == 2 else "cgroupDriver: cgroupfs\nfailCgroupV1: false\n"
    swap = "failSwapOn: false\n" if node.facts.container else ""
    return f"""\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: true
  x509:
    clientCAFile: {CLIENT_CA}
authorization:
  mode: Webhook
clusterDNS:
  - {network.dns_address}
clusterDomain: {network.dns_domain}
containerRuntimeEndpoint: unix://{SOCKET}
{cgroup}{swap}imageGCHighThresholdPercent: 100
podPidsLimit: {POD_PROCESSES}
registerNode: true
resolvConf: {RESOLVER}
runtimeRequestTimeout: 15m
seccompDefault: true
tlsCertFile: {HOME}/{node.name}.pem
tlsCipherSuites: [{", ".join(units.CIPHER_SUITES)}]
tlsPrivateKeyFile: {HOME}/{node.name}-key.pem
"""


def unit(node: Node) -> str:
    """Return kubelet.service. It mounts volumes into every pod, so it keeps the machine's own view."""
    return units.render(
        description="Kubernetes Kubelet",
        documentation="https://kubernetes.io/docs/reference/command-line-tools-reference/kubelet/",
        binary="/usr/local/bin/kubelet",
        flags={
            "config": CONFIG,
            "kubeconfig": KUBECONFIG,
            "hostname-override": node.name,
            "node-ip": node.internal_ip,
            "v": 2,
        },
        unit={"After": "containerd.service", "Wants": "containerd.service"},
        service={"Type": "notify"},
        restart="always",
        sandbox=SANDBOX,
    )


def _resolver() -> Command:
    """
    Return the link to the node's resolver that pods may use.

    With systemd-resolved, /etc/resolv.conf names a loopback address: from a pod that is the pod itself, and
    CoreDNS would forward to itself for ever (its `loop` plugin then stops it).
    """
    real = "/run/systemd/resolve/resolv.conf"
    wanted = f"if [ -s {real} ]; then wanted={real}; else wanted=/etc/resolv.conf; fi; "
    return Command(
        name="resolver-for-pods",
        argv=("sh", "-c", f'{wanted}ln -sfn "$wanted" {RESOLVER}'),
        unless=("sh", "-c", f'{wanted}[ "$(readlink {RESOLVER})" = "$wanted" ]'),
    )
