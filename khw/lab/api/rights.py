"""
Who may do what: everybody everything, until a fault (`forbidden`) takes a permission away.

A permission is looked at in two places, as on Google: when a request needs it, and when somebody asks beforehand
(cloudresourcemanager.projects.testIamPermissions, served at the same address).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from khw.lab.api.problems import ApiError, invalid

if TYPE_CHECKING:
    from khw.lab.api.project import Project

    Json = dict[str, Any]

PATH = "/v1/projects/{project}:testIamPermissions"
_VERBS = {
    "insert": "create",
    "patch": "update",
    "aggregatedList": "list",
    "addInstances": "update",
    "removeInstances": "update",
    "wait": "get",
    "getHealth": "get",
    "listInstances": "list",
    "getFromFamily": "get",
    "serialPort": "getSerialPortOutput",
}


def permission(method: str) -> str:
    """Return what a method needs: instances.insert needs compute.instances.create."""
    collection, _, verb = method.partition(".")
    return f"compute.{collection}.{_VERBS.get(verb, verb)}"


def require(project: Project, method: str, name: str) -> None:
    """Refuse a request whose permission a fault has taken away."""
    wanted = permission(method)
    if project.faults.meet("rights", wanted, name):
        what = f"projects/{project.name}" + (f"/{name}" if name else "")
        raise ApiError(403, "forbidden", f"Required '{wanted}' permission for '{what}'")


def held(project: Project, body: Json) -> Json:
    """Answer testIamPermissions: those of the permissions that are held."""
    asked = body.get("permissions", [])
    if not isinstance(asked, list) or not all(isinstance(row, str) for row in asked):
        raise invalid("permissions", asked, "It is a list of permissions.")
    if any("*" in row for row in asked):
        raise ApiError(400, "badRequest", "Permissions with wildcards are not allowed.")
    rows = [row for row in asked if not project.faults.meet("rights", row, "")]
    return {"permissions": rows} if rows else {}
