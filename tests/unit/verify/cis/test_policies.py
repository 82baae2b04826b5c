"""Section 5, judged on objects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from khw.kubectl import Kubectl, KubectlError
from khw.verify.check import Finding
from khw.verify.cis import objects, policies, rights
from khw.verify.cis.objects import TRIALS, Objects

REFUSED = 'forbidden: violates PodSecurity "baseline:latest": privileged'
BASELINE = {n: REFUSED for n in TRIALS if n not in ("5.2.6", "5.2.7", "5.2.8", "5.2.9")} | dict.fromkeys(
    ("5.2.6", "5.2.7", "5.2.8", "5.2.9"), ""
)


def meta(name: str, namespace: str = "", **labels: str) -> dict[str, Any]:
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": labels}


def pod(name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    spec = {"serviceAccountName": "default", "containers": [{"name": "c", "securityContext": {"x": 1}}], **spec}
    return {"kind": "Pod", "metadata": meta(name, namespace), "spec": spec}


DEFAULT: list[dict[str, Any]] = [
    {"kind": "Namespace", "metadata": meta("default")},
    {"kind": "Namespace", "metadata": meta("kube-system")},
    {"kind": "Service", "metadata": meta("kubernetes", "default")},
    {"kind": "ServiceAccount", "metadata": meta("default", "default")},
    {"kind": "ServiceAccount", "metadata": meta("coredns", "kube-system")},
    pod("coredns-1", "kube-system", serviceAccountName="coredns"),
    pod("echo-1", "khw-verify-abc"),
    {
        "kind": "ClusterRole",
        "metadata": meta("cluster-admin", **{rights.BOOTSTRAP: "rbac-defaults"}),
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
    },
    {
        "kind": "ClusterRole",
        "metadata": meta("system:kube-apiserver-to-kubelet", **{rights.BOOTSTRAP: "rbac-defaults"}),
        "rules": [{"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["*"]}],
    },
    {
        "kind": "ClusterRoleBinding",
        "metadata": meta("cluster-admin", **{rights.BOOTSTRAP: "rbac-defaults"}),
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "Group", "name": "system:masters"}],
    },
    {
        "kind": "ClusterRoleBinding",
        "metadata": meta("system:kube-apiserver"),
        "roleRef": {"kind": "ClusterRole", "name": "system:kube-apiserver-to-kubelet"},
        "subjects": [{"kind": "User", "name": "kubernetes"}],
    },
]


def role(name: str, group: str, resource: str, *verbs: str, to: str = "alice") -> list[dict[str, Any]]:
    rules = [{"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}]
    return [
        {"kind": "ClusterRole", "metadata": meta(name), "rules": rules},
        {
            "kind": "ClusterRoleBinding",
            "metadata": meta(name),
            "roleRef": {"kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "User", "name": to}],
        },
    ]


def finding(number: str, *more: dict[str, Any], trials: dict[str, str] = BASELINE) -> Finding:
    control = next(control for control in policies.CONTROLS if control.number == number)
    return control.finding(Objects(items=[*DEFAULT, *more], trials=trials))


def test_a_default_cluster_meets_all_but_what_is_a_persons_to_judge() -> None:
    found = {control.number: finding(control.number) for control in policies.CONTROLS}
    assert {number for number, f in found.items() if f.ok is False} == set()
    assert {number for number, f in found.items() if f.manual} == {
        *("5.1.7", "5.2.6", "5.2.7", "5.2.8", "5.2.9"),
        *("5.3.1", "5.3.2", "5.4.2", "5.5.1", "5.6.1"),
    }


RIGHTS = [
    ("5.1.2", role("reader", "", "secrets", "list")),
    ("5.1.4", role("maker", "", "pods", "create")),
    ("5.1.8", role("su", "", "users", "impersonate")),
    ("5.1.9", role("disks", "", "persistentvolumes", "*")),
    ("5.1.10", role("nodes", "", "nodes/proxy", "get")),
    ("5.1.11", role("signer", "certificates.k8s.io", "certificatesigningrequests/approval", "update")),
    ("5.1.12", role("hooks", "*", "mutatingwebhookconfigurations", "patch")),
    ("5.1.13", role("tokens", "", "serviceaccounts/token", "create")),
]


@pytest.mark.parametrize(("number", "items"), RIGHTS, ids=[row[0] for row in RIGHTS])
def test_whom_a_binding_gives_a_right_is_named(number: str, items: list[dict[str, Any]]) -> None:
    found = finding(number, *items)
    assert found.manual
    assert "User alice" in found.actual


def test_a_role_in_one_namespace_counts_there_and_its_namesake_elsewhere_does_not() -> None:
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    binding = {
        "kind": "RoleBinding",
        "metadata": meta("b", "blue"),
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "app", "namespace": "blue"}],
    }
    blue = {"kind": "Role", "metadata": meta("r", "blue"), "rules": rules}
    green = {"kind": "Role", "metadata": meta("r", "green"), "rules": rules}
    assert "ServiceAccount blue/app" in finding("5.1.2", binding, blue).actual
    assert finding("5.1.2", binding, green).ok is True


def test_another_binding_to_cluster_admin_and_a_wildcard_are_named() -> None:
    binding = {
        "kind": "ClusterRoleBinding",
        "metadata": meta("everybody-is-root"),
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "name": "alice"}],
    }
    assert "everybody-is-root" in finding("5.1.1", binding).actual
    assert "lazy" in finding("5.1.3", *role("lazy", "*", "pods", "get")).actual


def test_a_token_that_is_mounted_is_named_and_one_that_is_not_is_not() -> None:
    assert "default/web" in finding("5.1.5", pod("web", "default")).actual
    assert "default/web" in finding("5.1.6", pod("web", "default")).actual
    assert finding("5.1.5", pod("web", "default", automountServiceAccountToken=False)).ok is True


def test_what_pods_say_of_themselves_is_looked_at() -> None:
    container = {"name": "c", "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}
    assert "default/web" in finding("5.4.1", pod("web", "default", containers=[container])).actual
    bare = {"seccompProfile": {"type": "Unconfined"}}
    assert "default/web" in finding("5.6.2", pod("web", "default", securityContext=bare)).actual
    assert "default/web" in finding("5.6.3", pod("web", "default", containers=[{"name": "c"}])).actual
    assert "Pod web" in finding("5.6.4", pod("web", "default")).actual


def test_a_pod_that_is_let_in_is_not_met_and_one_that_is_refused_is() -> None:
    assert finding("5.2.2").ok is True
    assert finding("5.2.2", trials=dict.fromkeys(TRIALS, "")).actual == "not met: tried: such a pod is let in"
    assert finding("5.2.1", trials=dict.fromkeys(TRIALS, "")).manual


class Refusing(Kubectl):
    """Refuses the trial for 5.2.2 alone, as kubectl says it."""

    def run(self, *arguments: str, **options: Any) -> str:
        tried = json.loads(options["stdin"])["items"]
        assert len(tried) == len(TRIALS)
        assert "--dry-run=server" in arguments
        said = f'Error from server (Forbidden): error when creating "STDIN": pods "khw-cis-5-2-2" is {REFUSED}'
        raise KubectlError("kubectl create: …", evidence=said)

    def json(self, *_: str, **__: Any) -> Any:
        return {"items": DEFAULT}


def test_pods_are_tried_in_one_call_and_none_is_made() -> None:
    found = objects.ask(Refusing(path=None, kubeconfig=None))  # type: ignore[arg-type]  # it runs nothing
    assert found.trials["5.2.2"] == REFUSED
    assert {number for number, reason in found.trials.items() if reason} == {"5.2.2"}


def test_an_api_that_does_not_answer_is_an_error_and_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> str:
        raise KubectlError("kubectl create: connection refused", evidence="connection refused")

    monkeypatch.setattr(Refusing, "run", broken)
    with pytest.raises(KubectlError):
        objects.ask(Refusing(path=None, kubeconfig=None))  # type: ignore[arg-type]  # it runs nothing
