"""The test pods: one a worker, made for one round of checks and taken away after it, also on failure."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from khw.artifacts import lock
from khw.kubectl import Kubectl, KubectlError, KubectlTimeoutError

if TYPE_CHECKING:
    from khw.cluster.model import Cluster

NAMESPACE = "khw-verify"  # and a few letters: one takes its time to go, and the next round need not wait
LABEL = "app.kubernetes.io/managed-by=khw-verify"
ABANDONED = timedelta(minutes=15)
ECHO = "echo"
PORT = 8080
READY_SECONDS = 40.0
SUSPECT_SECONDS = 5.0
POLL_SECONDS = 0.5
CONNECT_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Pod:
    """A test pod that is ready."""

    name: str
    node: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The test pods by worker, the Service before them, and why a worker has none."""

    kubectl: Kubectl
    namespace: str
    pods: Mapping[str, Pod]
    missing: Mapping[str, str]
    service_address: str
    node_port: int
    unheard: dict[str, KubectlTimeoutError] = field(default_factory=dict)  # by pod that the API does not get through to

    def absent(self, *workers: str) -> str:
        """Return why a check that needs the test pods of these workers does not apply; '' if it does."""
        return next((f"no test pod on {name}" for name in workers if name not in self.pods), "")

    def reach(self, pod: Pod) -> None:
        """Raise the error that is known of a pod that the API does not get through to: waited for once a round."""
        if pod.name in self.unheard:
            raise self.unheard[pod.name]

    def execute(self, pod: Pod, *command: str) -> str:
        """Return what a command in a test pod prints; KubectlError if it fails."""
        self.reach(pod)
        return self.kubectl.run("exec", f"--namespace={self.namespace}", pod.name, "--", *command, timeout=20.0)

    def connect(self, pod: Pod, target: str, protocol: str = "tcp") -> str:
        """Connect from a test pod to 'host:port'; return '' if that works, else the reason."""
        try:
            self.execute(pod, "/agnhost", "connect", target, f"--timeout={CONNECT_SECONDS}s", f"--protocol={protocol}")
        except KubectlError as error:
            return _reason(error)
        return ""


@contextmanager
def bench(kubectl: Kubectl, cluster: Cluster, suspects: Collection[str] = ()) -> Iterator[Bench]:
    """
    Make the test pods, wait until each worker's is ready (or will not be), and take them away at the end.

    `suspects` are workers that other checks found broken, maybe meanwhile: they are waited for only a moment.
    """
    namespace = f"{NAMESPACE}-{secrets.token_hex(3)}"
    _sweep(kubectl)
    try:
        kubectl.run("apply", "--filename=-", stdin=manifest(namespace))
        pods, missing = _await_pods(kubectl, namespace, {node.name for node in cluster.workers}, suspects)
        spec = kubectl.json("get", f"--namespace={namespace}", "service", ECHO)["spec"]
        yield Bench(
            kubectl=kubectl,
            namespace=namespace,
            pods=pods,
            missing=missing,
            service_address=spec["clusterIP"],
            node_port=spec["ports"][0]["nodePort"],
        )
    finally:
        clear(kubectl, namespace)


def clear(kubectl: Kubectl, namespace: str) -> None:
    """Delete the namespace, its pods by force: one on a node that is gone would hold it for ever."""
    with suppress(KubectlError):
        kubectl.run("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
        kubectl.run(
            "delete", "pods", f"--namespace={namespace}", "--all", "--force", "--grace-period=0", "--wait=false"
        )


def manifest(namespace: str) -> str:
    """Return the namespace, the pods and their Service."""
    label, _, value = LABEL.partition("=")
    return MANIFEST.format(
        label=f"{label}: {value}",
        namespace=namespace,
        name=ECHO,
        image=lock.entry("image-agnhost").reference,
        port=PORT,
    )


def _sweep(kubectl: Kubectl) -> None:
    """Delete what a round that was killed has left behind; a round that still runs is younger."""
    items = kubectl.json("get", "namespaces", f"--selector={LABEL}")["items"]
    now = datetime.now(UTC)
    for item in items:
        if now - datetime.fromisoformat(item["metadata"]["creationTimestamp"]) > ABANDONED:
            clear(kubectl, item["metadata"]["name"])


def _await_pods(
    kubectl: Kubectl, namespace: str, workers: set[str], suspects: Collection[str]
) -> tuple[dict[str, Pod], dict[str, str]]:
    """Poll until every worker has its pod, or those that have none are not Ready, or the time is over."""
    started = time.monotonic()
    while True:
        items = kubectl.json("get", "pods", f"--namespace={namespace}", f"--selector=app={ECHO}")["items"]
        pods = {pod.node: pod for item in items if (pod := ready_pod(item))}
        absent = workers - set(pods)
        if not absent:
            return pods, {}
        waited = time.monotonic() - started
        hopeful = absent & _ready_nodes(kubectl) - (set(suspects) if waited > SUSPECT_SECONDS else set())
        if waited > READY_SECONDS or not hopeful:
            return pods, {name: _why_missing(name, items) for name in absent}
        time.sleep(POLL_SECONDS)


def ready_pod(item: Any) -> Pod | None:
    """Return the pod, if it is ready and has an address."""
    status = item.get("status", {})
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])
    node = item.get("spec", {}).get("nodeName")
    if not (ready and node and status.get("podIP")):
        return None
    return Pod(item["metadata"]["name"], node, status["podIP"])


def _ready_nodes(kubectl: Kubectl) -> set[str]:
    items = kubectl.json("get", "nodes")["items"]
    return {
        item["metadata"]["name"]
        for item in items
        if any(c["type"] == "Ready" and c["status"] == "True" for c in item["status"].get("conditions") or [])
    }


def _why_missing(node: str, items: list[Any]) -> str:
    for item in items:
        if item.get("spec", {}).get("nodeName") == node:
            states = [s.get("state", {}) for s in item["status"].get("containerStatuses") or []]
            reasons = [state["waiting"].get("reason", "waiting") for state in states if "waiting" in state]
            return f"the test pod is {item['status'].get('phase', 'unknown')} ({', '.join(reasons) or 'not started'})"
    return "no test pod was placed there"


def _reason(error: KubectlError) -> str:
    """Return agnhost's word for it (TIMEOUT, REFUSED, DNS: …, OTHER: …), or kubectl's."""
    words = ("TIMEOUT", "REFUSED", "DNS", "OTHER", "UNKNOWN")
    said = (line.strip() for line in error.evidence.splitlines())
    return next((line for line in said if line.startswith(words)), error.message)


MANIFEST = """\
apiVersion: v1
kind: Namespace
metadata:
  name: {namespace}
  labels:
    {label}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {name}
  namespace: {namespace}
spec:
  selector:
    matchLabels:
      app: {name}
  template:
    metadata:
      labels:
        app: {name}
    spec:
      terminationGracePeriodSeconds: 0
      tolerations:
        - operator: Exists
      containers:
        - name: {name}
          image: {image}
          imagePullPolicy: IfNotPresent
          args: [netexec, --http-port={port}]
          ports:
            - containerPort: {port}
          readinessProbe:
            periodSeconds: 1
            httpGet:
              path: /healthz
              port: {port}
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {namespace}
spec:
  type: NodePort
  selector:
    app: {name}
  ports:
    - port: 80
      targetPort: {port}
"""
