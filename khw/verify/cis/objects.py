"""What the API is asked for the benchmark's policies, in two calls, and what it said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from khw.kubectl import KubectlError
from khw.verify.bench import NAMESPACE as TEST_PODS

if TYPE_CHECKING:
    from khw.kubectl import Kubectl

Object: TypeAlias = "dict[str, Any]"

KINDS = (
    "namespaces",
    "pods",
    "serviceaccounts",
    "services",
    "networkpolicies.networking.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
)
SYSTEM = ("kube-system", "kube-public", "kube-node-lease")

TRIALS: dict[str, Object] = {
    "5.2.2": {"containers": [{"securityContext": {"privileged": True}}]},
    "5.2.3": {"hostPID": True},
    "5.2.4": {"hostIPC": True},
    "5.2.5": {"hostNetwork": True},
    "5.2.6": {"containers": [{"securityContext": {"allowPrivilegeEscalation": True}}]},
    "5.2.7": {"containers": [{"securityContext": {"runAsUser": 0}}]},
    "5.2.8": {},  # who does not drop it has it
    "5.2.9": {"containers": [{"securityContext": {"capabilities": {"add": ["CHOWN"]}}}]},
    "5.2.10": {
        "hostNetwork": True,
        "securityContext": {"windowsOptions": {"hostProcess": True, "runAsUserName": "NT AUTHORITY\\SYSTEM"}},
    },
    "5.2.11": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
    "5.2.12": {"containers": [{"ports": [{"containerPort": 80, "hostPort": 80}]}]},
}
"""A pod for each recommendation about what is admitted: it asks for the one thing, and is never made (dry run)."""


@dataclass(frozen=True, kw_only=True)
class Objects:
    """The objects that there are, and what became of each trial: '' if such a pod is let in, else why not."""

    items: Sequence[Object]
    trials: dict[str, str]

    def of(self, kind: str) -> list[Object]:
        """Return the objects of a kind."""
        return [item for item in self.items if item["kind"] == kind]

    @property
    def pods(self) -> list[Object]:
        """The pods, less those of a verify that may be under way."""
        return [pod for pod in self.of("Pod") if not pod["metadata"]["namespace"].startswith(TEST_PODS)]

    @property
    def namespaces(self) -> list[str]:
        """The namespaces that are neither Kubernetes' own nor a verify's."""
        names = (item["metadata"]["name"] for item in self.of("Namespace"))
        return [name for name in names if name not in SYSTEM and not name.startswith(TEST_PODS)]


def ask(kubectl: Kubectl) -> Objects:
    """Ask for all objects in one call, and try all pods in another."""
    items = kubectl.json("get", ",".join(KINDS), "--all-namespaces")["items"]
    return Objects(items=items, trials=_try(kubectl))


def _try(kubectl: Kubectl) -> dict[str, str]:
    pods = json.dumps({"apiVersion": "v1", "kind": "List", "items": [_pod(*row) for row in TRIALS.items()]})
    try:
        kubectl.run("create", "--dry-run=server", "--filename=-", stdin=pods)
    except KubectlError as error:
        if "khw-cis-" not in error.evidence:
            raise
        return {number: refusal(number, error.evidence) for number in TRIALS}
    return dict.fromkeys(TRIALS, "")


def refusal(number: str, said: str) -> str:
    """Return why this trial's pod was refused, of what kubectl said of all; '' if it was not."""
    name = f'"{_name(number)}" is '
    line = next((line for line in said.splitlines() if name in line), "")
    return line.partition(name)[2]


def _pod(number: str, spec: Object) -> Object:
    container = {"name": "trial", "image": "none", **(spec.get("containers") or [{}])[0]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _name(number), "namespace": "default"},
        "spec": {**spec, "containers": [container], "automountServiceAccountToken": False},
    }


def _name(number: str) -> str:
    return f"khw-cis-{number.replace('.', '-')}"
