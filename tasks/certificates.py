"""
Chapter 4 on the nodes: each gets the certificates that it needs, at the guide's paths, and no more.

Controllers get what etcd and the control plane read (chapters 7 and 8), workers the authority and their own pair.
The Kubernetes authority's key goes only to controllers, whose controller-manager signs with it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from khw.cluster.spec import Role
from khw.converge.resources import Command, Directory, File, Require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.certs.authority import Pair
    from khw.certs.pki import Pki
    from khw.cluster.model import Cluster, Node
    from khw.converge.resources import Resource

KUBERNETES = "/var/lib/kubernetes"
ETCD = "/etc/etcd"
KUBELET = "/var/lib/kubelet"
ETCD_USER = "etcd"

CONTROLLER_PAIRS = {
    "kubernetes": "kubernetes",
    "service-account": "service-accounts",
    "apiserver-etcd-client": "apiserver-etcd-client",
    "apiserver-kubelet-client": "apiserver-kubelet-client",
    "front-proxy-client": "front-proxy-client",
    "kube-controller-manager": "kube-controller-manager-serving",
    "kube-scheduler": "kube-scheduler-serving",
}
"""File name under /var/lib/kubernetes (without .pem and -key.pem), and whose pair it is."""


def resources(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
    """Yield the certificates and keys of this node; before a cluster's first, see that it is no other cluster's."""
    if cluster.may_bootstrap:
        yield _nobody_elses(pki)
    if node.roles & {Role.CONTROLLER, Role.WORKER}:
        yield Directory(path=KUBERNETES)
        yield _certificate(f"{KUBERNETES}/ca.pem", pki.authority("kubernetes"))
    if Role.CONTROLLER in node.roles:
        yield from _controller(pki)
    if Role.ETCD in node.roles:
        yield from _etcd(node, pki)
    if Role.WORKER in node.roles:
        yield Directory(path=KUBELET, mode=0o750)
        yield from _pair(KUBELET, node.name, pki.pair(f"kubelet-{node.name}"))


def _nobody_elses(pki: Pki) -> Require:
    """
    Return the finding that no authority but ours is on the machine.

    Only before the cluster has lived: later a strange one is a thing to mend, and is replaced.
    """
    script = """\
strange=
for pair; do
  path=${pair%=*}
  if test -e "$path" && ! echo "${pair##*=}  $path" | sha256sum --check --status; then
    echo "another authority's: $path, of $(stat --format=%y "$path" | cut -d. -f1)"
    strange=yes
  fi
done
test -z "$strange"
"""
    ours = {"kubernetes": (f"{KUBERNETES}/ca.pem",), "etcd": (f"{ETCD}/ca.pem", f"{KUBERNETES}/etcd-ca.pem")}
    digests = (
        f"{path}={hashlib.sha256(pki.authority(name).certificate).hexdigest()}"
        for name, paths in ours.items()
        for path in paths
    )
    return Require(
        name="no-other-cluster",
        argv=("sh", "-c", script, "sh", *digests),
        problem="the machine is part of another cluster, whose keys are not in this folder: that cluster would be lost",
        hint="run khw in the folder whose .khw made it, or copy that .khw beside khw.yaml; where that cluster is given"
        " up, install the machine anew",
    )


def _controller(pki: Pki) -> Iterator[Resource]:
    yield _key(f"{KUBERNETES}/ca-key.pem", pki.authority("kubernetes"))
    yield _certificate(f"{KUBERNETES}/etcd-ca.pem", pki.authority("etcd"))
    yield _certificate(f"{KUBERNETES}/front-proxy-ca.pem", pki.authority("front-proxy"))
    for name, identity in CONTROLLER_PAIRS.items():
        yield from _pair(KUBERNETES, name, pki.pair(identity))


def _etcd(node: Node, pki: Pki) -> Iterator[Resource]:
    yield _etcd_user()
    yield Directory(path=ETCD)
    yield _certificate(f"{ETCD}/ca.pem", pki.authority("etcd"))
    pair = pki.pair(f"etcd-{node.name}")
    yield _certificate(f"{ETCD}/kubernetes.pem", pair)
    yield _key(f"{ETCD}/kubernetes-key.pem", pair, owner=f"{ETCD_USER}:{ETCD_USER}")


def _etcd_user() -> Command:
    """Return the user that etcd runs as, and that owns its key and its data (chapter 7); it can log in nowhere."""
    home = ("--home-dir", "/var/lib/etcd", "--no-create-home", "--shell", "/usr/sbin/nologin")
    return Command(
        name="user-etcd",
        argv=("useradd", "--system", "--user-group", *home, ETCD_USER),
        unless=("id", ETCD_USER),
    )


def _pair(directory: str, name: str, pair: Pair) -> Iterator[File]:
    yield _certificate(f"{directory}/{name}.pem", pair)
    yield _key(f"{directory}/{name}-key.pem", pair)


def _certificate(path: str, pair: Pair) -> File:
    return File(path=path, content=pair.certificate, mode=0o644)


def _key(path: str, pair: Pair, owner: str = "root:root") -> File:
    return File(path=path, content=pair.key, mode=0o600, owner=owner)
