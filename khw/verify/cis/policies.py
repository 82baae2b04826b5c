"""Section 5: rights, pods, networks, Secrets: what the cluster's objects say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from khw.verify.cis import rights
from khw.verify.cis.control import Control, Judged, for_a_person, met, met_if, unmet
from khw.verify.cis.objects import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.verify.cis.control import ClusterControl
    from khw.verify.cis.objects import Object, Objects

Look: TypeAlias = "Callable[[Objects], Judged]"

SHOWN = 4
RESTRICTED = "only the restricted level refuses these: label the namespaces whose pods can bear it"
NEEDS_TOKENS = ("kube-system/coredns",)
READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete")


def nobody(group: str, resource: str, *verbs: str) -> Look:
    """Nobody beside Kubernetes' own may do this."""

    def look(objects: Objects) -> Judged:
        found = rights.holders(objects, group, resource, verbs)
        return unmet(f"{_some(found)} may") if found else met("nobody beside Kubernetes' own")

    return look


def refused(number: str, otherwise: str = "such a pod is let in") -> Look:
    """A pod that asks for it is refused (it is tried, by a dry run)."""

    def look(objects: Objects) -> Judged:
        reason = objects.trials[number]
        return met(f"tried: {reason}") if reason else unmet(f"tried: {otherwise}")

    return look


def leave(why: str) -> Look:
    """It is a person's to judge."""

    def look(objects: Objects) -> Judged:
        del objects
        return for_a_person(why)

    return look


def _cluster_admins(objects: Objects) -> Judged:
    found = rights.bound_to(objects, "cluster-admin")
    return met_if(not found, f"bound by {_some(found)}" if found else "bound to system:masters alone")


def _wildcards(objects: Objects) -> Judged:
    found = rights.with_wildcards(objects)
    return met_if(not found, f"in {_some(found)}" if found else "in none but those that Kubernetes ships")


def _tokens(objects: Objects) -> Iterator[tuple[str, str]]:
    """Yield whose token each pod has mounted, and the pod."""
    accounts = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item.get("automountServiceAccountToken")
        for item in objects.of("ServiceAccount")
    }
    for pod in objects.pods:
        namespace, account = pod["metadata"]["namespace"], pod["spec"].get("serviceAccountName", "default")
        wish = pod["spec"].get("automountServiceAccountToken")
        mounted = accounts.get((namespace, account)) if wish is None else wish
        if mounted is not False:
            yield f"{namespace}/{account}", f"{namespace}/{pod['metadata']['name']}"


def _default_accounts(objects: Objects) -> Judged:
    found = [pod for account, pod in _tokens(objects) if account.endswith("/default")]
    return met_if(not found, f"used by {_some(found)}" if found else "no pod has a default service account's token")


def _mounted_tokens(objects: Objects) -> Judged:
    found = sorted({pod for account, pod in _tokens(objects) if account not in NEEDS_TOKENS})
    return met_if(not found, f"mounted in {_some(found)}" if found else "in CoreDNS alone, which watches Services")


def _policy_control(objects: Objects) -> Judged:
    if reason := objects.trials["5.2.2"]:
        return met(f"Pod Security admission: {reason.partition(':')[0]}")
    hooks = [item["metadata"]["name"] for item in objects.of("ValidatingWebhookConfiguration")]
    return (
        met(f"by webhook: {_some(hooks)}") if hooks else unmet("a privileged pod is let in, and no webhook judges it")
    )


def _network_policies(objects: Objects) -> Judged:
    having = {item["metadata"]["namespace"] for item in objects.of("NetworkPolicy")}
    bare = [name for name in objects.namespaces if name not in having]
    return met_if(not bare, f"none in {_some(bare)}" if bare else "in every namespace")


def _secrets_in_environment(objects: Objects) -> Judged:
    found = [
        _name(pod)
        for pod in objects.pods
        if any(
            "secretRef" in source or "secretKeyRef" in (source.get("valueFrom") or {})
            for container in _containers(pod)
            for source in (*(container.get("env") or ()), *(container.get("envFrom") or ()))
        )
    ]
    return met_if(not found, f"in {_some(found)}" if found else "no pod has a Secret in its environment")


def _unconfined(objects: Objects) -> Judged:
    found = [
        _name(pod)
        for pod in objects.pods
        if any(
            (part.get("securityContext") or {}).get("seccompProfile", {}).get("type") == "Unconfined"
            for part in (pod["spec"], *_containers(pod))
        )
    ]
    return met_if(
        not found, f"{_some(found)} asks for none" if found else "kubelets give the default to every pod (4.2.14)"
    )


def _contexts(objects: Objects) -> Judged:
    bare = [
        _name(pod)
        for pod in objects.pods
        if not (pod["spec"].get("securityContext") or all(c.get("securityContext") for c in _containers(pod)))
    ]
    return met_if(not bare, f"{_some(bare)} has none" if bare else "every pod has one")


def _default_namespace(objects: Objects) -> Judged:
    there = [
        f"{item['kind']} {item['metadata']['name']}"
        for item in (*objects.pods, *objects.of("Service"))
        if item["metadata"]["namespace"] == "default" and item["metadata"]["name"] != "kubernetes"
    ]
    return met_if(not there, f"in it: {_some(there)}" if there else "nothing is in it but the Service kubernetes")


def _boundaries(objects: Objects) -> Judged:
    return for_a_person(f"namespaces beside Kubernetes' own ({', '.join(SYSTEM)}): {_some(objects.namespaces)}")


def _containers(pod: Object) -> Iterable[Any]:
    return (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ()))


def _name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


RBAC = "rbac.authorization.k8s.io"
SIGNING = "certificates.k8s.io"
HOOKS = "admissionregistration.k8s.io"


def _anybody_escalates(objects: Objects) -> Judged:
    rows = (
        (RBAC, "clusterroles", ("bind", "escalate")),
        (RBAC, "roles", ("bind", "escalate")),
        ("", "users", ("impersonate",)),
        ("", "groups", ("impersonate",)),
        ("", "serviceaccounts", ("impersonate",)),
    )
    found = sorted({who for row in rows for who in rights.holders(objects, *row)})
    return unmet(f"{_some(found)} may") if found else met("nobody beside Kubernetes' own")


def _anybody_hooks(objects: Objects) -> Judged:
    kinds = ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")
    found = sorted({who for kind in kinds for who in rights.holders(objects, HOOKS, kind, WRITE)})
    return unmet(f"{_some(found)} may") if found else met("nobody beside Kubernetes' own")


MASTERS = (
    "khw's administrator is in it, as the guide has it: keep that certificate for emergencies, and bind people to roles"
)
NO_POLICIES = "the guide's network (a bridge and routes) enforces no NetworkPolicy: where it is needed take another one"

CONTROLS: tuple[ClusterControl, ...] = (
    Control("5.1.1", "cluster-admin is given where it must be", _cluster_admins, manual=True),
    Control("5.1.2", "few may read Secrets", nobody("", "secrets", *READ), manual=True),
    Control("5.1.3", "roles have no wildcards", _wildcards, manual=True),
    Control("5.1.4", "few may make pods", nobody("", "pods", "create"), manual=True),
    Control("5.1.5", "default service accounts are not used", _default_accounts, manual=True),
    Control("5.1.6", "tokens are mounted where they are needed", _mounted_tokens, manual=True),
    Control("5.1.7", "nobody is in system:masters", leave(MASTERS), manual=True),
    Control("5.1.8", "few may bind, impersonate, escalate", _anybody_escalates, manual=True),
    Control("5.1.9", "few may make volumes", nobody("", "persistentvolumes", "create"), manual=True),
    Control("5.1.10", "few may go through a node's proxy", nobody("", "nodes/proxy", *READ, *WRITE), manual=True),
    Control(
        "5.1.11",
        "few may approve certificates",
        nobody(SIGNING, "certificatesigningrequests/approval", "update", "patch"),
        manual=True,
    ),
    Control("5.1.12", "few may change webhooks", _anybody_hooks, manual=True),
    Control(
        "5.1.13", "few may make service accounts' tokens", nobody("", "serviceaccounts/token", "create"), manual=True
    ),
    Control("5.2.1", "something judges what pods may ask for", _policy_control, manual=True),
    Control("5.2.2", "no privileged containers", refused("5.2.2"), manual=True),
    Control("5.2.3", "no pod among the machine's processes", refused("5.2.3"), manual=True),
    Control("5.2.4", "no pod in the machine's IPC", refused("5.2.4"), manual=True),
    Control("5.2.5", "no pod in the machine's network", refused("5.2.5"), manual=True),
    Control("5.2.6", "no container gains rights", refused("5.2.6", RESTRICTED), manual=True),
    Control("5.2.7", "no container runs as root", refused("5.2.7", RESTRICTED), manual=True),
    Control("5.2.8", "no container has NET_RAW", refused("5.2.8", RESTRICTED), manual=True),
    Control("5.2.9", "no container has added capabilities", refused("5.2.9", RESTRICTED), manual=True),
    Control("5.2.10", "no Windows HostProcess containers", refused("5.2.10"), manual=True),
    Control("5.2.11", "no volume of the machine's own files", refused("5.2.11"), manual=True),
    Control("5.2.12", "no port of the machine's own", refused("5.2.12"), manual=True),
    Control("5.3.1", "the pods' network enforces NetworkPolicies", leave(NO_POLICIES), manual=True),
    Control("5.3.2", "every namespace has NetworkPolicies", _network_policies, manual=True),
    Control("5.4.1", "Secrets are files, not variables", _secrets_in_environment, manual=True),
    Control(
        "5.4.2", "Secrets are kept elsewhere", leave("they are in etcd, encrypted; whether that is enough"), manual=True
    ),
    Control(
        "5.5.1",
        "images are what they say",
        leave("no ImagePolicyWebhook; khw's own images are pushed, checked by digest, and never pulled"),
        manual=True,
    ),
    Control("5.6.1", "namespaces are boundaries", _boundaries, manual=True),
    Control("5.6.2", "pods have the default seccomp profile", _unconfined, manual=True),
    Control("5.6.3", "pods have a security context", _contexts, manual=True),
    Control("5.6.4", "the default namespace is not used", _default_namespace, manual=True),
)
