"""The test pods: one a worker, made for one round of checks and taken away after it, also on failure."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from khw.artifacts import lock
from khw.kubectl import Kubectl, KubectlError

if TYPE_CHECKING:
    from khw.cluster import Cluster

NAMESPACE = "khw-verify"
ECHO = "echo"
PORT = 8080
READY_SECONDS = 40.0
SUSPECT_SECONDS = 5.0
GONE_SECONDS = 60.0
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
    pods: Mapping[str, Pod]
    missing: Mapping[str, str]
    service_address: str
    node_port: int

    def absent(self, *workers: str) -> str:
        """Return why a check that needs the test pods of these workers does not apply; '' if it does."""
        return next((f"no test pod on {name}" for name in workers if name not in self.pods), "")

    def execute(self, pod: Pod, *command: str) -> str:
        """Return what a command in a test pod prints; KubectlError if it fails."""
        return self.kubectl.run("exec", f"--namespace={NAMESPACE}", pod.name, "--", *command, timeout=20.0)

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
    try:
        _await_gone(kubectl)
        kubectl.run("apply", "--filename=-", stdin=manifest())
        pods, missing = _await_pods(kubectl, {node.name for node in cluster.workers}, suspects)
        spec = kubectl.json("get", f"--namespace={NAMESPACE}", "service", ECHO)["spec"]
        yield Bench(
            kubectl=kubectl,
            pods=pods,
            missing=missing,
            service_address=spec["clusterIP"],
            node_port=spec["ports"][0]["nodePort"],
        )
    finally:
        clear(kubectl)


def clear(kubectl: Kubectl) -> None:
    """
    Delete the namespace. Its pods go by force first: one on a node that is gone would hold it for ever.

    It does not wait for the end; the next round does, if it comes that soon.
    """
    with suppress(KubectlError):
        kubectl.run("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
        kubectl.run(
            "delete", "pods", f"--namespace={NAMESPACE}", "--all", "--force", "--grace-period=0", "--wait=false"
        )


def manifest() -> str:
    """Return the namespace, the pods and their Service."""
    return MANIFEST.format(namespace=NAMESPACE, name=ECHO, image=lock.entry("image-agnhost").reference, port=PORT)


def _await_gone(kubectl: Kubectl) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while True:
        found = kubectl.run(
            "get", "namespace", NAMESPACE, "--ignore-not-found", "--output=jsonpath={.status.phase}", timeout=15.0
        )
        if found != "Terminating":
            return
        if time.monotonic() > deadline:
            msg = f"the namespace {NAMESPACE} of an earlier round does not go away"
            raise KubectlError(msg, hint=f"kubectl get all -n {NAMESPACE}; kubectl describe namespace {NAMESPACE}")
        time.sleep(POLL_SECONDS)


def _await_pods(
    kubectl: Kubectl, workers: set[str], suspects: Collection[str]
) -> tuple[dict[str, Pod], dict[str, str]]:
    """Poll until every worker has its pod, or those that have none are not Ready, or the time is over."""
    started = time.monotonic()
    while True:
        items = kubectl.json("get", "pods", f"--namespace={NAMESPACE}", f"--selector=app={ECHO}")["items"]
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
