"""What is broken in who is who: certificates that are too old, too young, or for another name (chapter 4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from khw.certs.authority import issue
from khw.certs.identities import identities
from khw.drills.drill import Cause, Drill

if TYPE_CHECKING:
    from khw.certs.authority import Pair
    from khw.certs.identities import Identity
    from khw.drills.drill import Values
    from khw.drills.ground import Ground

SERVER = "/var/lib/kubernetes/kubernetes"
FOREIGN = "10.96.0.1"  # the first address of kubeadm's service CIDR


def _identity(ground: Ground, name: str) -> Identity:
    return next(row for row in identities(ground.cluster) if row.name == name)


def _issued(ground: Ground, identity: Identity, *, days: int = 365, at: datetime | None = None) -> Pair:
    """Return a pair of the cluster's own authority, as somebody might have issued it by hand."""
    return issue(identity, ground.pki.authority(identity.authority), days=days, at=at)


def _serve(ground: Ground, node: str, pair: Pair) -> None:
    """Have an API server serve with this pair."""
    ground.put_pair(node, SERVER, pair)
    ground.sh(node, "systemctl restart --no-block kube-apiserver")


def _expire(ground: Ground, values: Values) -> None:
    pair = _issued(ground, _identity(ground, "kubernetes"), at=datetime.now(UTC) - timedelta(days=366))
    _serve(ground, values["controller"], pair)


def _forget_balancer(ground: Ground, values: Values) -> None:
    identity = _identity(ground, "kubernetes")
    address = values["api_address"]
    short = replace(
        identity,
        names=tuple(name for name in identity.names if name != address),
        addresses=tuple(row for row in identity.addresses if row != address),
    )
    for node in ground.cluster.controllers:
        _serve(ground, node.name, _issued(ground, short))


def _mistake_range(ground: Ground, values: Values) -> None:
    identity = _identity(ground, "kubernetes")
    right = values["service_address"]
    other = replace(identity, addresses=tuple(FOREIGN if row == right else row for row in identity.addresses))
    for node in ground.cluster.controllers:
        _serve(ground, node.name, _issued(ground, other))


def _run_ahead(ground: Ground, values: Values) -> None:
    worker = values["worker"]
    pair = _issued(ground, _identity(ground, f"kubelet-{worker}"), at=datetime.now(UTC) + timedelta(days=3))
    ground.put_pair(worker, f"/var/lib/kubelet/{worker}", pair)
    ground.sh(worker, "systemctl restart --no-block kubelet")


EXPIRED = Drill(
    name="certificate-expired",
    title="an expired certificate",
    chapter=4,
    story="""
Since last night kubectl fails now and then, with a long line about x509, and when one tries again it mostly works. On
{controller} itself it never works, and its scheduler and controller manager write errors without end. It has been
running for a year, and nobody has changed anything. I promise. Nothing at all.
""",
    hints=(
        "Read the long line to its end: what does it say of the time? And which server gave it? Ask each API server"
        " by itself: `kubectl --server=https://ADDRESS:{port} get --raw=/readyz` on a controller.",
        "Look at what it shows: `khw ssh {controller} 'echo | openssl s_client -connect 127.0.0.1:{port} 2>/dev/null"
        " | openssl x509 -noout -subject -dates'`.",
        "'nothing was changed for a year' is the cause: certificates end. The file is"
        " /var/lib/kubernetes/kubernetes.pem. `khw verify` counts the days of all of them; for this one it is too"
        " late.",
    ),
    repair=("khw run --phase certificates --phase control-plane --limit {controller}",),
    cause=Cause(id="file:/var/lib/kubernetes/kubernetes.pem", node="{controller}"),
    proof=("API server", "API server names", "healthz"),
    make=_expire,
)

NO_NAME = Drill(
    name="san-missing",
    title="a name that the certificate does not have",
    chapter=4,
    story="""
We renewed the API servers' certificate today, by hand, from the list in the wiki. On the controllers everything is
green: I have checked /readyz on each of them, and kubectl works there. But from any laptop kubectl refuses to talk to
the cluster at all, and a minute later the nodes were NotReady, all at once. The authority is the right one and it is
valid for a year, I looked at it three times.
""",
    hints=(
        "Same certificate, same authority, and it depends on where you ask from. What is different on a laptop and on a"
        " worker? Not the server: the name by which it is asked for.",
        "kubectl says it: 'certificate is valid for …, not {api_address}'. A certificate is for the names and addresses"
        " that it lists, and nobody accepts it for another.",
        "List them: `khw ssh {controller} sudo openssl x509 -in /var/lib/kubernetes/kubernetes.pem -noout -ext"
        " subjectAltName`. Every address by which anybody asks must be there: the controllers', 127.0.0.1, the"
        " Service's, and the load balancer's.",
    ),
    repair=(
        "khw run --phase certificates --phase control-plane",
        "kubectl wait --for=condition=Ready nodes --all --timeout=120s",
    ),
    cause=Cause(id="file:/var/lib/kubernetes/kubernetes.pem"),
    proof=("load balancer", "API server names", "node"),
    make=_forget_balancer,
)

RANGE = Drill(
    name="service-cidr",
    title="a service CIDR that the certificate does not know",
    chapter=4,
    story="""
The new certificates are in since this morning, made with the template that we use for all our clusters. kubectl works
from everywhere, nodes are Ready, the API servers are healthy. But whatever runs *in* the cluster and talks to the API
has started to fail: the operator of the database, the ingress, and CoreDNS after I restarted one of its pods (I wish
that I hadn't). All of them say x509, and none of them was touched.
""",
    hints=(
        "What do pods do that kubectl does not? They ask for the API by the Service `kubernetes`: by its address, the"
        " first of the service CIDR ({service_address} here), or by its name.",
        "Be a pod: `khw ssh {worker} 'sudo kubectl --kubeconfig /var/lib/kubelet/kubeconfig --server"
        " https://{service_address}:443 get --raw /readyz'`. The message lists what the certificate is for.",
        "{foreign} is the first address of another service CIDR: that of the template. An address of 10.32.0.0/24 was"
        " expected. `khw verify` shows both lists; /var/lib/kubernetes/kubernetes.pem is the file, on each controller.",
    ),
    repair=("khw run --phase certificates --phase control-plane",),
    cause=Cause(id="file:/var/lib/kubernetes/kubernetes.pem"),
    proof=("API server names",),
    find=lambda _ground: {"foreign": FOREIGN},
    make=_mistake_range,
)

AHEAD = Drill(
    name="clock-ahead",
    title="a certificate from the future",
    chapter=4,
    story="""
{worker} got a new certificate from the new issuing machine, as a pilot. The node is Ready, its pods run, services work.
But `kubectl logs` and `kubectl exec` fail for every pod on it and for no other. "Expired", says the ticket, and it was
closed with "issued today, cannot be expired". They are both right, in a way.
""",
    hints=(
        "Read all of the message: 'certificate has expired **or is not yet valid**', and after it two times. Which of"
        " them is the current one?",
        "logs and exec go from the API server to the kubelet, at port 10250, and the kubelet shows its own certificate"
        " there: `khw ssh {worker} 'echo | openssl s_client -connect {worker_ip}:10250 2>/dev/null | openssl x509"
        " -noout -dates'`.",
        "notBefore is days ahead. Compare `khw ssh {worker} date` with your own: the clock here is right, so it was the"
        " clock of the machine that issued it. Have its clock set before it issues another; this one has to be"
        " replaced: /var/lib/kubelet/{worker}.pem.",
    ),
    repair=("khw run --phase certificates --phase workers --limit {worker}",),
    cause=Cause(id="file:/var/lib/kubelet/{worker}.pem", node="{worker}"),
    proof=("logs", "exec"),
    make=_run_ahead,
)

DRILLS = (EXPIRED, NO_NAME, RANGE, AHEAD)
