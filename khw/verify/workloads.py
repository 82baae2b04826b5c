"""What people do with pods: logs, exec, port-forward, a service account's token, a deployment (chapter 13)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from khw.artifacts import lock
from khw.kubectl import KubectlError, KubectlTimeoutError
from khw.secret import Secret
from khw.verify.bench import PORT
from khw.verify.check import Finding
from khw.verify.network import AT_ONCE, fetch

if TYPE_CHECKING:
    from khw.cluster.model import Node
    from khw.verify.bench import Bench, Pod
    from khw.verify.context import Context

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - a path, not a token
DEPLOYMENT = "nginx"  # the guide's name for it
DEPLOYMENT_SECONDS = 30.0
POLL_SECONDS = 0.5
HINT = (
    "the API server reaches kubelets on 10250 as the user `kubernetes`: RBAC of chapter 8,"
    " --kubelet-client-certificate, --kubelet-preferred-address-types"
)


def placed(context: Context, bench: Bench) -> Iterable[Finding]:
    """Expect a test pod on each worker; without it, the checks that use it are skipped."""
    for node in context.cluster.workers:
        pod = bench.pods.get(node.name)
        known = pod is None and node.name in context.unreachable  # that is the finding, and this its consequence
        yield Finding(
            ok=None if known else pod is not None,
            node=node.name,
            expected="a test pod runs here",
            actual=f"{pod.name} at {pod.address}" if pod else bench.missing[node.name],
            hint=f"kubectl describe node {node.name}; sudo systemctl status kubelet containerd",
        )


def logs(context: Context, bench: Bench) -> Iterable[Finding]:
    """Read a pod's log on each worker."""

    def look(pod: Pod) -> str:
        bench.reach(pod)
        text = bench.kubectl.run("logs", f"--namespace={bench.namespace}", pod.name)
        return "" if "netexec" in text.lower() or "http server" in text.lower() else f"unexpected: {text[:80]!r}"

    return _each(context, bench, "kubectl logs shows a pod's log", look)


def execute(context: Context, bench: Bench) -> Iterable[Finding]:
    """Run a command in a pod on each worker. Before all checks that go the same way: who is not heard here is left."""

    def look(pod: Pod) -> str:
        try:
            bench.execute(pod, "/agnhost", "--version")
        except KubectlTimeoutError as error:
            bench.unheard[pod.name] = error
            raise
        return ""

    return _each(context, bench, "kubectl exec runs a command in a pod", look)


def port_forward(context: Context, bench: Bench) -> Iterable[Finding]:
    """Reach a pod on each worker through a forwarded port."""

    def look(pod: Pod) -> str:
        bench.reach(pod)
        with bench.kubectl.port_forward(f"pod/{pod.name}", PORT, namespace=bench.namespace) as port:
            said = fetch(f"http://127.0.0.1:{port}/hostname", 5.0)
        return "" if said == pod.name else said

    return _each(context, bench, "kubectl port-forward reaches a pod", look)


def token(context: Context, bench: Bench) -> Iterable[Finding]:
    """Take the token that a pod was given, and ask the API whose it is."""

    def look(pod: Pod) -> str:
        printed = bench.execute(pod, "/agnhost", "mounttest", f"--file_content={TOKEN_PATH}")
        status = review(bench, Secret(printed.rpartition(": ")[2].strip()))
        user = status.get("user", {})
        if status.get("authenticated") and user.get("username") == f"system:serviceaccount:{bench.namespace}:default":
            return ""
        return str(status.get("error") or user.get("username") or "not authenticated")

    hint = "--service-account-issuer, --service-account-key-file, --service-account-signing-key-file of the API servers"
    return _each(context, bench, "a pod's service account token is accepted", look, hint)


def review(bench: Bench, value: Secret) -> dict[str, Any]:
    """Return the API's TokenReview of a token. It travels on stdin, and is printed nowhere."""
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": value.reveal().decode()},
    }
    answer = bench.kubectl.json("create", "--filename=-", stdin=Secret(json.dumps(request)))
    status: dict[str, Any] = answer.get("status", {})
    return status


def deployment(context: Context, bench: Bench) -> Iterable[Finding]:
    """Make a deployment, as the guide does, and wait for it: controller-manager, scheduler and kubelets at work."""
    replicas = len(context.cluster.workers)
    expected = f"{replicas} of {replicas} available within {DEPLOYMENT_SECONDS:g} s"
    hint = f"kubectl get events -n {bench.namespace}; sudo journalctl -u kube-controller-manager -u kube-scheduler"
    if absent := bench.absent(*(node.name for node in context.cluster.workers)):
        yield Finding(ok=None, expected=expected, actual=absent)
        return
    image = lock.entry("image-agnhost").reference
    bench.kubectl.run(
        "create",
        "deployment",
        DEPLOYMENT,
        f"--namespace={bench.namespace}",
        f"--image={image}",
        f"--replicas={replicas}",
        "--",
        "/agnhost",
        "netexec",
    )
    seen = _await_available(bench, replicas)
    yield Finding(ok=seen == replicas, expected=expected, actual=f"{seen} of {replicas}", hint=hint)


def _await_available(bench: Bench, replicas: int) -> int:
    deadline = time.monotonic() + DEPLOYMENT_SECONDS
    while True:
        status = bench.kubectl.json("get", f"--namespace={bench.namespace}", "deployment", DEPLOYMENT).get("status", {})
        seen = int(status.get("availableReplicas", 0))
        if seen == replicas or time.monotonic() > deadline:
            return seen
        time.sleep(POLL_SECONDS)


def _each(
    context: Context, bench: Bench, expected: str, look: Callable[[Pod], str], hint: str = HINT
) -> Iterable[Finding]:
    def one(node: Node) -> Finding:
        if absent := bench.absent(node.name):
            return Finding(ok=None, node=node.name, expected=expected, actual=absent)
        try:
            reason = look(bench.pods[node.name])
        except KubectlError as error:
            reason = error.message
        return Finding(ok=not reason, node=node.name, expected=expected, actual=reason or "it does", hint=hint)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(one, context.cluster.workers)
