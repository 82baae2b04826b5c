"""Boot disks: each comes with its instance, and goes with it if its autoDelete says so. Nobody inserts one here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from khw.lab.api.kind import Kind
from khw.lab.api.links import last, link
from khw.lab.api.problems import ApiError
from khw.lab.state import Entry

if TYPE_CHECKING:
    from khw.lab.api.project import Project

    Json = dict[str, Any]


def add_disk(project: Project, instance: Entry, image: Json, how: Json, *, goes_along: bool) -> None:
    """Add an instance's boot disk: `how` are its initializeParams."""
    name = how.get("diskName") or instance.name
    key = f"{instance.scope}/disks/{name}"
    labels = how.get("labels", {})
    body: Json = {
        "kind": "compute#disk",
        "id": str(int(instance.body["id"]) + 1),
        "name": name,
        "creationTimestamp": instance.body["creationTimestamp"],
        "selfLink": project.link(key),
        "zone": project.link(instance.scope),
        "status": "READY",
        "sizeGb": str(instance.body["disks"][0]["diskSizeGb"]),
        "sourceImage": image["selfLink"],
        "sourceImageId": image["id"],
        "type": link(project.name, f"{instance.scope}/diskTypes/{last(how.get('diskType', 'pd-standard'))}"),
        "physicalBlockSizeBytes": "4096",
        "licenses": image["licenses"],
        "guestOsFeatures": image["guestOsFeatures"],
        "enableConfidentialCompute": False,
        "lastAttachTimestamp": instance.body["creationTimestamp"],
        "architecture": "X86_64",
        "labelFingerprint": project.fingerprint(labels),
    }
    if labels:
        body["labels"] = dict(labels)
    hidden = {"owner": instance.key if goes_along else "", "of": instance.body["selfLink"]}
    project.state.entries[key] = Entry("disks", instance.scope, name, key, body, hidden, ready=True)


def _refuse(_project: Project, _entry: Entry) -> None:
    raise ApiError(400, "invalid", "The lab has no disks but those that come with instances.")


def _view_disk(project: Project, entry: Entry, body: Json) -> None:
    users = [e.body["selfLink"] for e in project.of("instances") if e.body["selfLink"] == entry.hidden["of"]]
    if users:
        body["users"] = users


DISKS = Kind(
    collection="disks",
    path="disks",
    resource="disk",
    level="zone",
    fill=_refuse,
    labels=True,
    aggregated=True,
    view=_view_disk,
)
