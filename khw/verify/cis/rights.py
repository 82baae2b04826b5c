"""Who may what, by the RBAC objects: those that Kubernetes made for itself left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from khw.verify.cis.objects import Object, Objects

BOOTSTRAP = "kubernetes.io/bootstrapping"
OURS = {"User kubernetes": "the API server, to kubelets"}
"""Subjects of the cluster's own that are not called system:…"""


def holders(objects: Objects, group: str, resource: str, verbs: Iterable[str]) -> list[str]:
    """Return whom a binding gives one of these verbs on this resource, beside Kubernetes' own."""
    wanted = set(verbs)
    found = (
        subject
        for subjects, rules in _bindings(objects)
        if any(_allows(rule, group, resource, wanted) for rule in rules)
        for subject in subjects
    )
    return sorted(set(found))


def bound_to(objects: Objects, role: str) -> list[str]:
    """Return the bindings to this cluster role, beside the one of its own name."""
    bindings = (*objects.of("ClusterRoleBinding"), *objects.of("RoleBinding"))
    names = (b["metadata"]["name"] for b in bindings if b["roleRef"]["name"] == role)
    return sorted(name for name in names if name != role)


def with_wildcards(objects: Objects) -> list[str]:
    """Return the roles with a * for verbs, resources or groups, beside those that Kubernetes ships."""
    roles = (*objects.of("ClusterRole"), *objects.of("Role"))
    return sorted(
        role["metadata"]["name"]
        for role in roles
        if not _bootstrapped(role)
        and any("*" in (rule.get(part) or ()) for rule in _rules(role) for part in ("verbs", "resources", "apiGroups"))
    )


def _bindings(objects: Objects) -> Iterator[tuple[list[str], list[Any]]]:
    roles = {_key(role): _rules(role) for role in (*objects.of("ClusterRole"), *objects.of("Role"))}
    for binding in (*objects.of("ClusterRoleBinding"), *objects.of("RoleBinding")):
        if _bootstrapped(binding):
            continue
        subjects = [name for subject in binding.get("subjects") or () if (name := _subject(subject)) not in OURS]
        reference = binding["roleRef"]
        namespace = binding["metadata"].get("namespace", "") if reference["kind"] == "Role" else ""
        yield (
            [name for name in subjects if not name.partition(" ")[2].startswith("system:")],
            roles.get((reference["kind"], namespace, reference["name"]), []),
        )


def _key(role: Object) -> tuple[str, str, str]:
    return role["kind"], role["metadata"].get("namespace", ""), role["metadata"]["name"]


def _rules(role: Object) -> list[Any]:
    return role.get("rules") or []


def _bootstrapped(item: Object) -> bool:
    return BOOTSTRAP in (item["metadata"].get("labels") or {})


def _subject(subject: Object) -> str:
    where = f"{subject['namespace']}/" if subject.get("namespace") else ""
    return f"{subject['kind']} {where}{subject['name']}"


def _allows(rule: Any, group: str, resource: str, verbs: set[str]) -> bool:
    return (
        _has(rule.get("apiGroups"), {group})
        and _has(rule.get("resources"), {resource, f"*/{resource.partition('/')[2]}"})
        and _has(rule.get("verbs"), verbs)
    )


def _has(given: Any, wanted: set[str]) -> bool:
    return bool({"*", *wanted} & set(given or ()))
