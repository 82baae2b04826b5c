"""What the API refuses although it should not: the API server's right to kubelets, and webhooks that nobody answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from khw.kubectl import KubectlError
from khw.verify.check import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from khw.verify.context import Context

USER = "kubernetes"  # the CN of the certificate that API servers show to kubelets
KINDS = ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")


def kubelets(context: Context) -> Iterable[Finding]:
    """Expect that the API server's user may do what logs and exec need on nodes (chapter 8)."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": USER, "resourceAttributes": {"verb": "create", "resource": "nodes", "subresource": "proxy"}},
    }
    answer = context.kubectl.json("create", "--filename=-", stdin=json.dumps(review))
    allowed = bool(answer.get("status", {}).get("allowed"))
    yield Finding(
        ok=allowed,
        subject=f"user {USER}",
        expected=f"user {USER}, the API server, may reach kubelets",
        actual="it may" if allowed else "it may not: logs and exec are Forbidden",
        hint="kubectl get clusterrolebinding system:kube-apiserver; khw run --phase rbac",
    )


def admission(context: Context) -> Iterable[Finding]:
    """Expect that every webhook that may stop a request has a Service with somebody behind it."""
    items = context.kubectl.json("get", ",".join(KINDS))["items"]
    hooks = [(item["metadata"]["name"], hook) for item in items for hook in item.get("webhooks") or []]
    strict = [(name, hook) for name, hook in hooks if hook.get("failurePolicy", "Fail") == "Fail"]
    found = list(_unanswered(context, strict))
    yield from found
    if not found:
        yield Finding(ok=True, expected="somebody answers every webhook", actual=f"{len(strict)} that can refuse")


def _unanswered(context: Context, hooks: list[tuple[str, Any]]) -> Iterator[Finding]:
    for name, hook in hooks:
        service = hook["clientConfig"].get("service")
        if service is None or _answers(context, service):
            continue
        where = f"{service['namespace']}/{service['name']}"
        yield Finding(
            ok=False,
            subject=name,
            expected=f"somebody behind the Service {where}",
            actual=f"nobody; what {hook['name']} is asked for is refused: {_rules(hook)}",
            hint=f"kubectl get service,endpointslices -n {service['namespace']}; kubectl get {KINDS[0]} {name} -o yaml",
        )


def _answers(context: Context, service: Any) -> bool:
    try:
        rows = context.kubectl.json(
            "get",
            "endpointslices",
            f"--namespace={service['namespace']}",
            f"--selector=kubernetes.io/service-name={service['name']}",
        )["items"]
    except KubectlError:
        return False
    return any(
        endpoint.get("conditions", {}).get("ready", True) for row in rows for endpoint in row.get("endpoints") or []
    )


def _rules(hook: Any) -> str:
    return ", ".join(
        f"{'/'.join(rule.get('operations', []))} {'/'.join(rule.get('resources', []))}"
        for rule in hook.get("rules", [])
    )
