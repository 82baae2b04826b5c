"""Unmanaged instance groups: what stands behind a backend service (chapter 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from khw.lab.api.kind import Kind
from khw.lab.api.problems import ApiError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.lab.api.project import Project
    from khw.lab.state import Entry

    Json = dict[str, Any]


def _fill(project: Project, entry: Entry) -> None:
    body = entry.body
    entry.hidden["members"] = []
    body["namedPorts"] = body.get("namedPorts", [])
    body["fingerprint"] = project.fingerprint(body["namedPorts"])
    if not body["namedPorts"]:
        del body["namedPorts"]


def _view(_project: Project, entry: Entry, body: Json) -> None:
    body["size"] = len(entry.hidden["members"])


def _named(project: Project, entry: Entry, body: Json) -> Iterator[Entry]:
    """Return the instances that a request names, of the group's zone."""
    for index, row in enumerate(body.get("instances", ())):
        field = f"instances[{index}]"
        instance = project.referenced(row["instance"], field)
        if instance.collection != "instances" or instance.scope != entry.scope:
            raise invalid(field, row["instance"], "It is not an instance of the group's zone.")
        yield instance


def _add(project: Project, entry: Entry, body: Json) -> None:
    chosen = list(_named(project, entry, body))
    network = entry.body.get("network")
    for instance in chosen:
        interface = instance.body["networkInterfaces"][0]
        if instance.body["selfLink"] in entry.hidden["members"]:
            message = f"Resource '{instance.body['selfLink']}' is already a member of '{entry.name}'."
            raise ApiError(400, "memberAlreadyExists", message)
        if network and interface["network"] != network:
            raise invalid("instances", instance.name, "It is in another network than the group's.")
        network = interface["network"]
    for instance in chosen:
        entry.hidden["members"].append(instance.body["selfLink"])
        entry.body.setdefault("network", network)
        entry.body.setdefault("subnetwork", instance.body["networkInterfaces"][0]["subnetwork"])


def _remove(project: Project, entry: Entry, body: Json) -> None:
    chosen = [instance.body["selfLink"] for instance in _named(project, entry, body)]
    for url in chosen:
        if url not in entry.hidden["members"]:
            raise ApiError(400, "memberNotFound", f"Resource '{url}' is not a member of '{entry.name}'.")
    entry.hidden["members"] = [url for url in entry.hidden["members"] if url not in chosen]


def _set_named_ports(project: Project, entry: Entry, body: Json) -> None:
    given = body.get("fingerprint")
    if given and given != entry.body["fingerprint"]:
        raise ApiError(412, "conditionNotMet", "Fingerprint is out of date.")
    entry.body["namedPorts"] = body.get("namedPorts", [])
    entry.body["fingerprint"] = project.fingerprint(entry.body["namedPorts"])
    if not entry.body["namedPorts"]:
        del entry.body["namedPorts"]


def _list_instances(project: Project, entry: Entry, body: Json) -> Json:
    wanted = body.get("instanceState", "ALL")
    items = []
    for url in entry.hidden["members"]:
        status = project.at(url).body["status"]
        if wanted in {"ALL", status}:
            row: Json = {"instance": url, "status": status}
            if entry.body.get("namedPorts"):
                row["namedPorts"] = entry.body["namedPorts"]
            items.append(row)
    answer: Json = {
        "kind": "compute#instanceGroupsListInstances",
        "id": f"projects/{project.name}/{entry.key}/listInstances",
        "selfLink": f"{entry.body['selfLink']}/listInstances",
    }
    if items:
        answer["items"] = items
    return answer


INSTANCE_GROUPS = Kind(
    collection="instanceGroups",
    path="instanceGroups",
    resource="instanceGroup",
    level="zone",
    fill=_fill,
    links=("network", "subnetwork"),
    networked=True,
    aggregated=True,
    view=_view,
    actions={"addInstances": _add, "removeInstances": _remove, "setNamedPorts": _set_named_ports},
    reads={"listInstances": ("POST", _list_instances)},
)
