"""
Every TLS connection of the cluster (`khw.cluster.edges`), tried from the node that makes it (chapter 4).

The right certificate is let in; none, and a stranger's that claims to be the administrator, are refused; the server
proves the name that it is called by. The operator's own connection is the check `load balancer`, pods' is theirs.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from khw.certs.authority import issue, make_authority
from khw.certs.identities import CLIENT, Authority, Identity
from khw.cluster.edges import BALANCER, Edge, Proof, edges
from khw.cluster.spec import Role
from khw.ssh.connection import RemoteCommand
from khw.tasks.certificates import KUBERNETES
from khw.tasks.etcd import PEER_PORT
from khw.verify import handshake
from khw.verify.check import Finding, last_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.certs.authority import Pair
    from khw.cluster.model import Cluster, Node
    from khw.ssh.connection import Completed
    from khw.verify.context import Context

PATHS = {
    "etcd": "/version",
    "kube-apiserver": "/api",
    "kubelet": "/healthz",
    "kube-controller-manager": "/metrics",
    "kube-scheduler": "/metrics",
}
"""What is asked of each server: something that it answers to those whom it knows, and to nobody else."""
SHOWN = {
    "mine": "with its certificate",
    "none": "with none",
    "stranger": "with a stranger's",
    "other": "with the API server's client certificate",
}
EXPECTED = "the right certificate is let in, none and a stranger's are refused"


def tried(node: Node, cluster: Cluster) -> tuple[Edge, ...]:
    """Return the connections that this node makes with a certificate."""
    return tuple(edge for edge in edges(cluster) if edge.client.host == node.name and edge.proof is Proof.CERTIFICATE)


def subject(edge: Edge) -> str:
    """Return what the check calls a connection from its client's node."""
    where = "the API's address" if edge.server.host == BALANCER else edge.server.host
    return f"{edge.client.component} to {edge.server.component} at {where}:{edge.port}"


def ask(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Have the node try all of its connections, at once."""
    pair = _stranger()
    wanted = {
        "edges": [_row(edge, node) for edge in tried(node, context.cluster)],
        "stranger": [pair.certificate.decode(), pair.key.reveal().decode()],
    }
    argv = ("python3", "-I", "-c", Path(handshake.__file__).read_text())
    return (RemoteCommand(argv, stdin=json.dumps(wanted).encode()),)


def _row(edge: Edge, node: Node) -> dict[str, Any]:
    shown = edge.credential
    has_others = edge.port == PEER_PORT and Role.CONTROLLER in node.roles  # etcd's own machines have one pair
    stem = f"{KUBERNETES}/apiserver-etcd-client"
    return {
        "address": edge.address,
        "port": edge.port,
        "path": PATHS[edge.server.component],
        "ca": edge.ca,
        "kubeconfig": shown.kubeconfig if shown else "",
        "certificate": shown.certificate if shown else "",
        "key": shown.key if shown else "",
        # of etcd's own authority, and no member: a peer must refuse it
        **({"other": [f"{stem}.pem", f"{stem}-key.pem"]} if has_others else {}),
    }


def judge(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Give one finding for all that is well, else one for each connection that is not."""
    (answer,) = answers
    mine = tried(node, context.cluster)
    try:
        rows = json.loads(answer.out)
    except ValueError:
        yield Finding(ok=False, expected=EXPECTED, actual=last_line(answer))
        return
    bad = [(edge, row, problem) for edge, row in zip(mine, rows, strict=True) if (problem := _problem(row))]
    for edge, row, problem in bad:
        yield Finding(
            ok=False,
            subject=subject(edge),
            expected=EXPECTED,
            actual=problem,
            evidence="\n".join(f"{SHOWN[way]}: {said}" for way, said in row.items()),
            hint="khw run --phase certificates --phase kubeconfigs puts right what was changed on the nodes",
            command=_command(node, edge),
        )
    if not bad:
        yield Finding(ok=True, expected=f"{len(mine)} connections: {EXPECTED}", actual=f"{len(mine)} are so")


def _problem(row: dict[str, str]) -> str:
    """Return what is wrong; no connection at all is told once, whatever was to be shown."""
    mine = row["mine"]
    if mine.startswith(("no c", "the server")):
        return mine
    if not _let_in(mine):
        return f"the right certificate is not let in: {mine}"
    strange = next((way for way, said in row.items() if way != "mine" and not _refused(said)), "")
    return f"{SHOWN[strange]}: {row[strange]}, expected to be refused" if strange else ""


def _let_in(said: str) -> bool:
    return said.isdigit() and int(said) < 400


def _refused(said: str) -> bool:
    """Whether nothing was given away: also with 500, where whom to ask for a right is itself away."""
    return said.startswith("refused") or (said.isdigit() and int(said) >= 400)


def _command(node: Node, edge: Edge) -> str:
    shown = edge.credential
    pair = f" -cert {shown.certificate} -key {shown.key}" if shown and shown.certificate else ""
    return (
        f"khw ssh {node.name} 'sudo openssl s_client -connect {edge.address}:{edge.port} "
        f"-CAfile {edge.ca} -verify_ip {edge.address}{pair} -brief </dev/null'"
    )


@cache
def _stranger() -> Pair:
    """Return a pair that says it is the administrator's, of an authority that nobody knows; of this process."""
    authority = make_authority(Authority("stranger", "Kubernetes", "Kubernetes"), days=1)
    return issue(Identity("stranger", "stranger", "admin", "system:masters", CLIENT), authority, days=1)
