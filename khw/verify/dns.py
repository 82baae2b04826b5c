"""DNS (chapter 12): CoreDNS runs, and pods resolve the cluster's names with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from khw.converge.difference import of_text
from khw.tasks.dns import REPLICAS, corefile
from khw.verify.check import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.verify.bench import Bench
    from khw.verify.context import Context

AT_ONCE = 4
HINT = "kubectl get pods -l k8s-app=kube-dns -n kube-system; kubectl logs -l k8s-app=kube-dns -n kube-system"


def deployed(context: Context) -> Iterable[Finding]:
    """Expect the replicas ready, and the Service at the address that kubelets give to pods."""
    status = context.kubectl.json("get", "deployment", "coredns", "--namespace=kube-system")["status"]
    ready = status.get("readyReplicas", 0)
    yield Finding(
        ok=ready == REPLICAS,
        subject="replicas",
        expected=f"{REPLICAS} ready",
        actual=f"{ready} ready",
        hint=HINT,
    )
    spec = context.kubectl.json("get", "service", "kube-dns", "--namespace=kube-system")["spec"]
    ports = sorted(f"{port['port']}/{port['protocol'].lower()}" for port in spec["ports"])
    yield Finding(
        ok=spec["clusterIP"] == str(context.cluster.network.dns_address) and ports == ["53/tcp", "53/udp", "9153/tcp"],
        subject="service",
        expected=f"kube-dns at {context.cluster.network.dns_address}: 53/tcp, 53/udp, 9153/tcp",
        actual=f"{spec['clusterIP']}: {', '.join(ports)}",
        hint="khw run --phase dns",
    )


def corefile_of(context: Context) -> Iterable[Finding]:
    """Expect that CoreDNS is told what khw told it: the domain of the kubelets, above all."""
    data = context.kubectl.json("get", "configmap", "coredns", "--namespace=kube-system").get("data", {})
    wanted, seen = corefile(context.cluster), str(data.get("Corefile", ""))
    yield Finding(
        ok=seen.strip() == wanted.strip(),
        subject="Corefile",
        expected="as khw wrote it",
        actual="it is" if seen.strip() == wanted.strip() else "it was changed",
        evidence="\n".join(line for line in of_text("Corefile", seen, wanted).splitlines()[2:] if line[:1] in "+-"),
        hint="kubectl -n kube-system get configmap coredns -o yaml; khw run --phase dns",
    )


def from_pods(context: Context, bench: Bench) -> Iterable[Finding]:
    """Resolve a service's short and full name in a pod on each worker, by connecting to it."""
    names = ("kubernetes.default", f"kubernetes.default.svc.{context.cluster.network.dns_domain}.")
    questions = [(node.name, name) for node in context.cluster.workers for name in names]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda question: _resolve(bench, *question), questions)


def _resolve(bench: Bench, node: str, name: str) -> Finding:
    expected = "a pod here resolves the name and reaches it"
    if absent := bench.absent(node):
        return Finding(ok=None, node=node, subject=name, expected=expected, actual=absent)
    reason = bench.connect(bench.pods[node], f"{name}:443")
    return Finding(
        ok=not reason,
        node=node,
        subject=name,
        expected=expected,
        actual=reason or "resolved and reached",
        hint=HINT,
    )
