"""
Chapter 9: a worker: swap off, the kernel's settings, containerd, CNI, kubelet, kube-proxy.

In two phases. `prepare` needs no API server and runs beside the control plane. `resources` starts kubelet and
kube-proxy, and waits until an API server answers: both start at once then, while a kubelet that met a closed door
backs off for up to 20 s (docs/decisions/0017).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.artifacts import lock
from khw.converge.resources import Binary, Command, File, Image, Package, Wait
from khw.distributions import package
from khw.tasks.containerd import network, runtime
from khw.tasks.kube_proxy import kube_proxy
from khw.tasks.kubelet import KUBECONFIG, kubelet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource

MODULES = "/etc/modules-load.d/kubernetes.conf"
SYSCTLS = "/etc/sysctl.d/99-kubernetes.conf"
SETTINGS = {
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
    "net.ipv4.ip_forward": "1",
    "fs.inotify.max_user_instances": "8192",
}
"""
Beside the guide's: kubelet, containerd and every pod that watches a file share root's inotify instances, and 128 (the
default) are soon gone: then the kubelet does not start ('inotify_init: too many open files').
"""
PACKAGES = {
    "socat": "socat",
    "conntrack": "conntrack",
    "ipset": "ipset",
    "iptables": "iptables",
    "kmod": "modprobe",
}
BINARIES = ("kubelet", "kube-proxy", "kubectl")
IMAGE = "image-coredns"
TEST_IMAGE = "image-agnhost"


def prepare(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
    """Yield all that a worker has before it joins. The runtime is up while the larger binaries still come."""
    del cluster, pki
    for name, provides in PACKAGES.items():
        yield Package(name=package(node.facts, name), provides=provides)
    yield from swap()
    yield from kernel()
    yield from network(node)
    yield from runtime(node, lock.entry("image-pause").reference)
    for name in BINARIES:
        yield Binary(path=f"/usr/local/bin/{name}", artifact=name)
    yield Image(artifact=IMAGE, reference=lock.entry(IMAGE).reference)


def resources(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
    """
    Yield kubelet and kube-proxy. Their certificates and kubeconfigs are chapters 4's and 5's.

    The image of chapter 13's pods comes while the node gets Ready, which it does by itself: nobody needs it before.
    """
    del pki
    yield from kubelet(node, cluster)
    yield from kube_proxy(node, cluster)
    yield Image(artifact=TEST_IMAGE, reference=lock.entry(TEST_IMAGE).reference)
    yield ready(node, cluster)


def swap() -> Iterator[Resource]:
    """
    Yield swap off, now and after a reboot: what /etc/fstab names, and what units or a partition table bring.

    In a container swap is the host's, and none of our business.
    """
    line = r"^[^#[:space:]]+[[:space:]]+[^[:space:]]+[[:space:]]+swap[[:space:]]"
    yield Command(
        name="swap-off",
        argv=("swapoff", "--all"),
        unless=("sh", "-c", '[ "$(wc -l </proc/swaps)" -le 1 ] || systemd-detect-virt --container --quiet'),
    )
    yield Command(
        name="swap-off-after-reboot",
        argv=("systemctl", "mask", "swap.target"),
        unless=("sh", "-c", '[ "$(readlink /etc/systemd/system/swap.target)" = /dev/null ]'),
    )
    yield Command(
        name="swap-out-of-fstab",
        argv=(
            "sed",
            "--in-place=.before-khw",
            "--regexp-extended",
            f"s/{line}/# off, for the kubelet: &/",
            "/etc/fstab",
        ),
        unless=("sh", "-c", f"! grep -Eqs '{line}' /etc/fstab"),
    )


def kernel() -> Iterator[Resource]:
    """Yield bridged traffic seen by the packet filter, and forwarding, now and after a reboot."""
    yield File(path=MODULES, content="br_netfilter\noverlay\n")
    yield Command(
        name="br_netfilter",
        argv=("modprobe", "br_netfilter"),
        unless=("test", "-d", "/proc/sys/net/bridge"),
    )
    yield File(path=SYSCTLS, content="".join(f"{name} = {value}\n" for name, value in SETTINGS.items()))
    wanted = " && ".join(f'[ "$(sysctl -n {name})" -ge {value} ]' for name, value in SETTINGS.items())
    yield Command(name="sysctls", argv=("sysctl", "--load", SYSCTLS), unless=("sh", "-c", wanted))


def ready(node: Node, cluster: Cluster) -> Wait:
    """Return the wait for the node to be Ready, asked with the kubelet's own kubeconfig."""
    condition = '{.status.conditions[?(@.type=="Ready")].status}'
    kubectl = ("/usr/local/bin/kubectl", f"--kubeconfig={KUBECONFIG}")
    return Wait(
        name="node-ready",
        argv=(*kubectl, "--request-timeout=5s", "get", "node", node.name, f"--output=jsonpath={condition}"),
        watch=(*kubectl, "wait", "--for=condition=Ready", f"node/{node.name}"),
        expect="True",
        timeout=cluster.spec.timeouts.ready,
        unit="kubelet.service",
    )
