"""
Who talks to whom: every TLS connection of a cluster, with what each side proves itself with (chapters 4, 5, 7 to 10).

    for edge in edges(cluster): edge.client, edge.server, edge.address, edge.server_identity, edge.client_identity

Pure: the table that the TLS picture is drawn from, and that can be tested edge by edge. Identities are those of
`khw.certs.identities`; paths are where the client's node keeps what it shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from khw.engine.report import OPERATOR
from khw.tasks import certificates, etcd, kube_proxy, kubeconfigs, kubelet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.cluster.model import Cluster, Node

BALANCER = "load balancer"
PODS = "pods"
KUBELET_PORT = 10250
LOCAL_SERVERS = {"kube-controller-manager": 10257, "kube-scheduler": 10259}
LOOPBACK = "127.0.0.1"
SERVICE_PORT = 443
AUTHORITY = f"{certificates.KUBERNETES}/ca.pem"


class Proof(StrEnum):
    """What a client shows."""

    CERTIFICATE = "certificate"
    TOKEN = "token"  # noqa: S105 - the kind, not one: a pod's, signed with the service accounts' key
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Party:
    """A program, and where it runs: a node's name, OPERATOR, BALANCER or PODS."""

    component: str
    host: str

    def __str__(self) -> str:
        return f"{self.component} on {self.host}"


@dataclass(frozen=True, slots=True)
class Credential:
    """
    What a client proves itself with: a pair of `khw.certs.identities`, and where its node keeps it.

    Either in a kubeconfig, or as a certificate and a key.
    """

    identity: str
    kubeconfig: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """
    One TLS connection, at the address that the client connects to.

    The client knows the server through `server_authority` ('': it does not look), whose certificate is `ca` on the
    client's node; the server knows the client through `client_authority`. One that goes through the load balancer ends
    at an API server all the same: bytes are passed on, nothing is decrypted.
    """

    client: Party
    server: Party
    address: str
    port: int
    purpose: str
    chapter: int
    server_identity: str
    server_authority: str = "kubernetes"
    ca: str = ""
    proof: Proof = Proof.CERTIFICATE
    credential: Credential | None = None
    client_authority: str = "kubernetes"

    @property
    def client_identity(self) -> str:
        """The pair that the client shows, by its name in `khw.certs.identities`; '' if it shows none."""
        return self.credential.identity if self.credential else ""

    @property
    def name(self) -> str:
        """What it is called where there is one line for it."""
        return f"{self.client} to {self.server} at {self.address}:{self.port}"


def edges(cluster: Cluster) -> tuple[Edge, ...]:
    """Return every TLS connection of this cluster, from etcd outwards."""
    return tuple(
        edge for part in (_peers, _stores, _locals, _balanced, _checked, _kubelets, _pods) for edge in part(cluster)
    )


def _peers(cluster: Cluster) -> Iterator[Edge]:
    """Members of etcd among themselves (chapter 7), in both directions."""
    for node in cluster.etcd_members:
        for other in cluster.etcd_members:
            if other.name != node.name:
                yield _to_etcd(node, other, etcd.PEER_PORT, "etcd", _member(node), "replicates what is stored")


def _stores(cluster: Cluster) -> Iterator[Edge]:
    """API servers to every member of etcd (chapter 8), and the guide's own etcdctl on each controller."""
    for node in cluster.controllers:
        shown = _pair("apiserver-etcd-client", f"{certificates.KUBERNETES}/apiserver-etcd-client")
        for member in cluster.etcd_members:
            purpose = "reads and writes every object"
            yield _to_etcd(node, member, etcd.CLIENT_PORT, "kube-apiserver", shown, purpose)
    for node in cluster.etcd_members:
        purpose = "looks after etcd by hand"
        yield _to_etcd(node, node, etcd.CLIENT_PORT, "etcdctl", _member(node), purpose, address=LOOPBACK)


def _locals(cluster: Cluster) -> Iterator[Edge]:
    """What speaks to its own controller's API server, and what is asked there for its health (chapters 5 and 8)."""
    users = {
        "kube-controller-manager": "runs the controllers",
        "kube-scheduler": "gives pods to nodes",
        "kubectl": "administers, on the controller itself",
    }
    for node in cluster.controllers:
        for component, purpose in users.items():
            yield Edge(
                client=Party(component, node.name),
                server=Party("kube-apiserver", node.name),
                address=LOOPBACK,
                port=cluster.network.api_port,
                purpose=purpose,
                chapter=8,
                server_identity="kubernetes",
                ca=AUTHORITY,
                credential=_local_user("admin" if component == "kubectl" else component),
            )
        for component, port in LOCAL_SERVERS.items():
            yield Edge(
                client=Party("kubectl", node.name),
                server=Party(component, node.name),
                address=LOOPBACK,
                port=port,
                purpose="asks for its health",
                chapter=8,
                server_identity=f"{component}-serving",
                ca=AUTHORITY,
                credential=_local_user("admin"),
            )


def _balanced(cluster: Cluster) -> Iterator[Edge]:
    """What reaches the API through the load balancer (chapters 5, 9 and 10)."""
    for node in cluster.workers:
        kubeconfig = Credential(f"kubelet-{node.name}", kubeconfig=kubelet.KUBECONFIG)
        yield _to_api(cluster, Party("kubelet", node.name), kubeconfig, "takes its pods, tells how they are", 9)
        kubeconfig = Credential("kube-proxy", kubeconfig=kube_proxy.KUBECONFIG)
        yield _to_api(cluster, Party("kube-proxy", node.name), kubeconfig, "watches Services and their endpoints", 9)
    yield _to_api(cluster, Party("kubectl", OPERATOR), Credential("admin"), "administers, from anywhere", 10)


def _checked(cluster: Cluster) -> Iterator[Edge]:
    """The load balancer's health checks (chapter 8): it asks /readyz, and looks at no certificate."""
    for node in cluster.controllers:
        yield Edge(
            client=Party(BALANCER, BALANCER),
            server=Party("kube-apiserver", node.name),
            address=node.internal_ip,
            port=cluster.network.api_port,
            purpose="asks /readyz, to know whom to pass connections to",
            chapter=8,
            server_identity="kubernetes",
            server_authority="",
            proof=Proof.NOTHING,
            client_authority="",
        )


def _kubelets(cluster: Cluster) -> Iterator[Edge]:
    """API servers to kubelets: logs, exec, metrics (chapter 8's RBAC)."""
    for node in cluster.controllers:
        for worker in cluster.workers:
            yield Edge(
                client=Party("kube-apiserver", node.name),
                server=Party("kubelet", worker.name),
                address=worker.internal_ip,
                port=KUBELET_PORT,
                purpose="fetches logs, runs exec and port-forward",
                chapter=8,
                server_identity=f"kubelet-{worker.name}",
                ca=AUTHORITY,
                credential=_pair("apiserver-kubelet-client", f"{certificates.KUBERNETES}/apiserver-kubelet-client"),
            )


def _pods(cluster: Cluster) -> Iterator[Edge]:
    """Pods to the API, by the Service `kubernetes`: with a token, and no certificate (chapter 12: CoreDNS)."""
    if cluster.workers:
        yield Edge(
            client=Party("CoreDNS", PODS),
            server=Party("kube-apiserver", "Service kubernetes"),
            address=str(cluster.network.service_address),
            port=SERVICE_PORT,
            purpose="watches Services, to answer for their names",
            chapter=12,
            server_identity="kubernetes",
            ca="/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
            proof=Proof.TOKEN,
            client_authority="",
        )


def _to_etcd(  # noqa: PLR0913 - who, to whom, where, with what and what for
    node: Node, member: Node, port: int, component: str, shown: Credential, purpose: str, *, address: str = ""
) -> Edge:
    mine = component != "kube-apiserver"
    return Edge(
        client=Party(component, node.name),
        server=Party("etcd", member.name),
        address=address or member.internal_ip,
        port=port,
        purpose=purpose,
        chapter=7 if mine else 8,
        server_identity=f"etcd-{member.name}",
        server_authority="etcd",
        ca=etcd.AUTHORITY if mine else f"{certificates.KUBERNETES}/etcd-ca.pem",
        credential=shown,
        client_authority="etcd",
    )


def _to_api(cluster: Cluster, client: Party, shown: Credential, purpose: str, chapter: int) -> Edge:
    return Edge(
        client=client,
        server=Party("kube-apiserver", BALANCER),
        address=cluster.api_address,
        port=cluster.spec.api_port,
        purpose=purpose,
        chapter=chapter,
        server_identity="kubernetes",
        ca="" if client.host == OPERATOR else AUTHORITY,
        credential=shown,
    )


def _member(node: Node) -> Credential:
    return Credential(f"etcd-{node.name}", certificate=etcd.CERTIFICATE, key=etcd.KEY)


def _pair(identity: str, stem: str) -> Credential:
    return Credential(identity, certificate=f"{stem}.pem", key=f"{stem}-key.pem")


def _local_user(identity: str) -> Credential:
    return Credential(identity, kubeconfig=f"{kubeconfigs.KUBERNETES}/{identity}.kubeconfig")
