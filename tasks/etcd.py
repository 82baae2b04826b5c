"""
Chapter 7: etcd, one member a controller, mutual TLS between members and with clients.

The members wait for each other, so none is waited for (`block=False`) before all have been started; the trailing
Wait asks this member for its health with the guide's own flags. On a data directory that is there already etcd
ignores --initial-cluster*, so that a second run and a restart are the same as the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.resources import Binary, Directory, Unit, Wait
from khw.tasks.units import STRICT, render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.certs.pki import Pki
    from khw.cluster import Cluster, Node
    from khw.resources import Resource
    from khw.tasks.units import Flag

BINARY = "/usr/local/bin/etcd"
DATA = "/var/lib/etcd"
AUTHORITY = "/etc/etcd/ca.pem"
CERTIFICATE = "/etc/etcd/kubernetes.pem"
KEY = "/etc/etcd/kubernetes-key.pem"
CLIENT_PORT = 2379
PEER_PORT = 2380

ETCDCTL = (
    "/usr/local/bin/etcdctl",
    f"--endpoints=https://127.0.0.1:{CLIENT_PORT}",
    f"--cacert={AUTHORITY}",
    f"--cert={CERTIFICATE}",
    f"--key={KEY}",
)
"""etcdctl as the guide calls it on a controller."""


def resources(node: Node, cluster: Cluster, pki: Pki) -> Iterator[Resource]:
    """Yield etcd on this controller."""
    del pki
    yield Binary(path=BINARY, artifact="etcd")
    yield Binary(path="/usr/local/bin/etcdctl", artifact="etcdctl")
    yield Binary(path="/usr/local/bin/etcdutl", artifact="etcdutl")
    yield Directory(path="/etc/etcd")
    yield Directory(path=DATA, mode=0o700)
    yield Unit(
        name="etcd.service",
        content=unit(node, cluster),
        inputs=(BINARY, AUTHORITY, CERTIFICATE, KEY),
        block=False,
    )
    yield Wait(
        name="etcd-healthy",
        argv=(*ETCDCTL, "endpoint", "health", "--command-timeout=5s"),
        timeout=cluster.spec.timeouts.ready,
        unit="etcd.service",
    )


def unit(node: Node, cluster: Cluster) -> str:
    """Return etcd.service."""
    return render(
        description="etcd",
        documentation="https://etcd.io/docs/",
        binary=BINARY,
        flags=_flags(node, cluster),
        unit={"Wants": "network-online.target", "After": "network-online.target"},
        service={"Type": "notify"},
        sandbox={**STRICT, "ReadWritePaths": DATA},
    )


def _flags(node: Node, cluster: Cluster) -> dict[str, Flag]:
    peer = f"https://{node.internal_ip}:{PEER_PORT}"
    client = f"https://{node.internal_ip}:{CLIENT_PORT}"
    return {
        "name": node.name,
        "cert-file": CERTIFICATE,
        "key-file": KEY,
        "peer-cert-file": CERTIFICATE,
        "peer-key-file": KEY,
        "trusted-ca-file": AUTHORITY,
        "peer-trusted-ca-file": AUTHORITY,
        "peer-client-cert-auth": True,
        "client-cert-auth": True,
        # the API server's client certificate is of the same authority and is no member
        "peer-cert-allowed-cn": "kubernetes",
        "initial-advertise-peer-urls": peer,
        "listen-peer-urls": peer,
        "listen-client-urls": (client, f"https://127.0.0.1:{CLIENT_PORT}"),
        "advertise-client-urls": client,
        "initial-cluster-token": "etcd-cluster-0",
        "initial-cluster": [f"{n.name}=https://{n.internal_ip}:{PEER_PORT}" for n in cluster.controllers],
        "initial-cluster-state": "new",
        "data-dir": DATA,
    }
