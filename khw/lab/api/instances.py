"""Instances (chapter 3): what is inserted becomes a machine of the backend."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from khw.errors import LabError
from khw.lab.api.catalog import check_machine_type, find_image
from khw.lab.api.desired import machine_spec, metadata_of
from khw.lab.api.disks import add_disk
from khw.lab.api.kind import Kind
from khw.lab.api.links import last, link
from khw.lab.api.problems import ApiError, OperationError, already_exists, invalid, not_found, required, stale
from khw.lab.api.project import usable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from khw.lab.api.project import Project
    from khw.lab.state import Entry, Job

    Json = dict[str, Any]

_SERIAL_BYTES = 1024 * 1024  # the most that one answer carries, as Google's


# What an instance is where its request does not say.
_USUAL: Mapping[str, Json] = {
    "scheduling": {
        "onHostMaintenance": "MIGRATE",
        "automaticRestart": True,
        "preemptible": False,
        "provisioningModel": "STANDARD",
    },
    "shieldedInstanceConfig": {"enableSecureBoot": False, "enableVtpm": True, "enableIntegrityMonitoring": True},
    "shieldedInstanceIntegrityPolicy": {"updateAutoLearnPolicy": True},
}


# Insert


def _fill(project: Project, entry: Entry) -> None:
    body = entry.body
    zone = last(entry.scope)
    if not body.get("machineType"):
        raise required("resource.machineType")
    twin = next((e for e in project.of("instances") if e.name == entry.name), None)
    if twin:
        raise invalid("resource.name", entry.name, f"The lab has it in another zone: '{twin.scope}'.")
    body["machineType"] = check_machine_type(body["machineType"], zone, project)
    image, how = _fill_disks(project, entry, zone)
    body["tags"] = {"items": sorted(body.get("tags", {}).get("items", []))}
    body["tags"]["fingerprint"] = project.fingerprint(body["tags"]["items"])
    if not body["tags"]["items"]:
        del body["tags"]["items"]
    _write_metadata(project, body, body.get("metadata", {}))
    body["status"] = "PROVISIONING"
    body.setdefault("canIpForward", False)
    body.setdefault("deletionProtection", False)
    for field, usual in _USUAL.items():
        body[field] = {**usual, **body.get(field, {})}
    body.update(cpuPlatform="Intel Broadwell", startRestricted=False)
    _fill_interface(project, entry)
    add_disk(project, entry, image, how, goes_along=body["disks"][0]["autoDelete"])
    body["fingerprint"] = project.fingerprint([body["id"], body["metadata"], body["tags"]])


def _fill_disks(project: Project, entry: Entry, zone: str) -> tuple[Json, Json]:
    """Write the boot disk as Google shows it; return its image, and how it is to be made."""
    disks = entry.body.get("disks") or []
    boot = next((disk for disk in disks if disk.get("boot")), None)
    if boot is None or len(disks) != 1:
        raise invalid("resource.disks", len(disks), "An instance has exactly one disk here, its boot disk.")
    how = boot.get("initializeParams", {})
    if not how.get("sourceImage"):
        raise required("resource.disks[0].initializeParams.sourceImage")
    image = find_image(how["sourceImage"], project, "resource.disks[0].initializeParams.sourceImage")
    size = int(how.get("diskSizeGb") or boot.get("diskSizeGb") or image["diskSizeGb"])
    if size < int(image["diskSizeGb"]):
        why = f"Requested disk size cannot be smaller than the image size ({image['diskSizeGb']} GB)."
        raise invalid("resource.disks[0].initializeParams.diskSizeGb", size, why)
    entry.hidden["image"] = image["family"]
    entry.body["disks"] = [
        {
            "kind": "compute#attachedDisk",
            "type": "PERSISTENT",
            "mode": "READ_WRITE",
            "source": link(project.name, f"zones/{zone}/disks/{how.get('diskName') or entry.name}"),
            "deviceName": boot.get("deviceName", "persistent-disk-0"),
            "index": 0,
            "boot": True,
            "autoDelete": bool(boot.get("autoDelete", False)),
            "licenses": image["licenses"],
            "guestOsFeatures": image["guestOsFeatures"],
            "interface": "SCSI",
            "diskSizeGb": str(size),
            "architecture": "X86_64",
        }
    ]
    if f"zones/{zone}/disks/{how.get('diskName') or entry.name}" in project.state.entries:
        raise already_exists(project.path(f"zones/{zone}/disks/{how.get('diskName') or entry.name}"))
    return image, how


def _fill_interface(project: Project, entry: Entry) -> None:
    interfaces = entry.body.get("networkInterfaces") or []
    if len(interfaces) != 1:
        raise invalid("resource.networkInterfaces", len(interfaces), "An instance has one interface here.")
    interface = interfaces[0]
    if not interface.get("subnetwork"):
        raise required("resource.networkInterfaces[0].subnetwork")
    subnet = project.at(interface["subnetwork"])
    if interface.setdefault("network", subnet.body["network"]) != subnet.body["network"]:
        why = "The subnetwork is of another network."
        raise invalid("resource.networkInterfaces[0].network", interface["network"], why)
    interface.update(kind="compute#networkInterface", name="nic0", stackType="IPV4_ONLY")
    wanted = interface.get("networkIP")
    taken = project.internal_addresses(interface["subnetwork"])
    if wanted and not usable(wanted, subnet):
        why = "Requested internal IP is not within the subnetwork's range."
        raise invalid("resource.networkInterfaces[0].networkIP", wanted, why)
    if wanted in taken and taken[wanted].collection != "addresses":
        message = f"IP '{wanted}' is already being used by another resource."
        raise OperationError("IP_IN_USE_BY_ANOTHER_RESOURCE", message)
    interface["networkIP"] = wanted or project.free_internal_address(subnet)
    interface["fingerprint"] = project.fingerprint(interface)
    configs = interface.get("accessConfigs") or []
    if len(configs) > 1:
        why = "An interface has at most one access config."
        raise invalid("resource.networkInterfaces[0].accessConfigs", len(configs), why)
    for config in configs:
        config.setdefault("type", "ONE_TO_ONE_NAT")
        config.setdefault("name", "External NAT")
        config.setdefault("networkTier", "PREMIUM")
        config["kind"] = "compute#accessConfig"
        _fill_nat(project, entry, config)


def _fill_nat(project: Project, entry: Entry, config: Json) -> None:
    wanted = config.pop("natIP", None)
    if wanted:
        field = "resource.networkInterfaces[0].accessConfigs[0].natIP"
        holder = project.external_addresses().get(wanted)
        if holder is None or holder.collection != "addresses":
            raise invalid(field, wanted, "The specified external IP address was not found in the region.")
        if project.users_of_address(wanted):
            raise invalid(field, wanted, "External IP address is already in-use.")
    config["natIP"] = wanted or project.free_external_address()
    entry.hidden["nat"] = config["natIP"]


def _insert(project: Project, entry: Entry, _job: Job) -> None:
    _set_status(project, entry, "STAGING")
    project.apply_network()
    project.backend.create_machine(machine_spec(project, entry))
    dead = project.faults.meet("machine", "instances.insert", entry.name) is not None
    if dead:
        project.backend.stop_machine(entry.name)
    _started(project, entry, dead=dead)
    project.apply_network()


def _started(project: Project, entry: Entry, *, dead: bool = False) -> None:
    """Show the instance as RUNNING; `dead` (a fault) until its next start or reset: its machine never boots."""
    with project.state.lock:
        entry.body["lastStartTimestamp"] = project.now()
        entry.hidden["dead"] = dead
        _set_status(project, entry, "RUNNING")


def _undo(project: Project, entry: Entry, _job: Job) -> None:
    with contextlib.suppress(LabError):
        project.backend.delete_machine(entry.name)


def _set_status(project: Project, entry: Entry, status: str) -> None:
    with project.state.lock:
        entry.body["status"] = status
        project.state.save()


# Life


def _delete(project: Project, entry: Entry, _job: Job) -> None:
    _set_status(project, entry, "STOPPING")
    project.backend.delete_machine(entry.name)
    with project.state.lock:
        for group in project.of("instanceGroups"):
            members = group.hidden["members"]
            group.hidden["members"] = [url for url in members if url != entry.body["selfLink"]]
        project.state.entries.pop(entry.key, None)
    project.apply_network()


def _stop(project: Project, entry: Entry, _job: Job) -> None:
    if entry.body["status"] == "TERMINATED":
        return
    _set_status(project, entry, "STOPPING")
    project.backend.stop_machine(entry.name)
    with project.state.lock:
        entry.body["lastStopTimestamp"] = project.now()
        _release_nat(project, entry)
    _set_status(project, entry, "TERMINATED")
    project.apply_network()


def ended_by_itself(project: Project, name: str) -> None:
    """Take note that a machine has shut itself down: TERMINATED, as if it had been stopped."""
    with project.state.lock:
        entry = next((e for e in project.of("instances") if e.name == name), None)
        if entry is None or entry.body["status"] != "RUNNING" or entry.hidden.get("dead"):
            return  # an operation is at it, or a fault has it look as if it ran
        entry.body["lastStopTimestamp"] = project.now()
        _release_nat(project, entry)
        _set_status(project, entry, "TERMINATED")
    project.apply_network()


def _release_nat(project: Project, entry: Entry) -> None:
    """An ephemeral external address goes with the stop, as on Google; a reserved one stays."""
    for config in entry.body["networkInterfaces"][0].get("accessConfigs", []):
        address = config.get("natIP", "")
        if project.external_addresses().get(address) is entry:
            del config["natIP"]


def _start(project: Project, entry: Entry, _job: Job) -> None:
    if entry.body["status"] == "RUNNING":
        return
    with project.state.lock:
        for config in entry.body["networkInterfaces"][0].get("accessConfigs", []):
            if not config.get("natIP"):
                config["natIP"] = project.free_external_address(entry.hidden.get("nat", ""))
                entry.hidden["nat"] = config["natIP"]
    _set_status(project, entry, "STAGING")
    project.apply_network()
    project.backend.start_machine(entry.name)
    _started(project, entry)
    project.apply_network()


def _reset(project: Project, entry: Entry, _job: Job) -> None:
    if entry.body["status"] != "RUNNING":
        raise OperationError("RESOURCE_NOT_READY", f"The instance '{entry.name}' is not running.")
    if entry.hidden.get("dead"):
        project.backend.start_machine(entry.name)
        _started(project, entry)
    else:
        project.backend.reset_machine(entry.name)
    project.apply_network()


def _no_body(_project: Project, _entry: Entry, _body: Json) -> None:
    """Take nothing over: start, stop and reset say all by their names."""


# Metadata


def _write_metadata(project: Project, body: Json, wanted: Json) -> None:
    items = [{"key": str(i["key"]), "value": str(i.get("value", ""))} for i in wanted.get("items", [])]
    keys = [item["key"] for item in items]
    if len(set(keys)) != len(keys):
        raise invalid("resource.metadata", keys, "A key is there twice.")
    body["metadata"] = {"kind": "compute#metadata", "fingerprint": project.fingerprint(items)}
    if items:
        body["metadata"]["items"] = items


def _take_metadata(project: Project, entry: Entry, body: Json) -> None:
    if body.get("fingerprint", "") != entry.body["metadata"]["fingerprint"]:
        raise stale("metadata")
    _write_metadata(project, entry.body, body)


def _set_metadata(project: Project, entry: Entry, _job: Job) -> None:
    project.backend.set_metadata(entry.name, metadata_of(entry))


# Reading from the machine


def _guest_attributes(project: Project, entry: Entry, query: Json) -> Json:
    path = str(query.get("queryPath") or query.get("variableKey") or "")
    allowed = metadata_of(entry).get("enable-guest-attributes", "").lower() in {"true", "1", "y", "yes"}
    if not allowed:
        message = "Guest attributes endpoint access is disabled."
        raise ApiError(412, "conditionNotMet", message)
    published = {} if entry.hidden.get("dead") else project.backend.guest_attributes(entry.name)
    found = [
        {"namespace": key.partition("/")[0], "key": key.partition("/")[2], "value": value}
        for key, value in sorted(published.items())
        if key == path or key.startswith(path if path.endswith("/") or not path else f"{path}/")
    ]
    if not found:
        raise not_found(f"{project.path(entry.key)}/guestAttributes/{path}")
    answer: Json = {
        "kind": "compute#guestAttributes",
        "selfLink": f"{entry.body['selfLink']}/guestAttributes/{path}",
        "queryPath": path,
        "queryValue": {"items": found},
    }
    if query.get("variableKey"):
        answer["variableKey"] = path
        answer["variableValue"] = found[0]["value"]
    return answer


def _serial_port(project: Project, entry: Entry, query: Json) -> Json:
    output = project.backend.serial_output(entry.name)
    start = int(query.get("start") or 0)
    start = max(0, len(output) + start) if start < 0 else start
    part = output[start : start + _SERIAL_BYTES] if start < len(output) else b""
    return {
        "kind": "compute#serialPortOutput",
        "selfLink": f"{entry.body['selfLink']}/serialPort",
        "contents": part.decode(errors="replace"),
        "start": str(start),
        "next": str(start + len(part)),
    }


def _locked(entry: Entry) -> str:
    protected = entry.body.get("deletionProtection")
    return "Resource cannot be deleted if it's protected against deletion." if protected else ""


INSTANCES = Kind(
    collection="instances",
    path="instances",
    resource="instance",
    level="zone",
    fill=_fill,
    links=("networkInterfaces[].network", "networkInterfaces[].subnetwork"),
    networked=True,
    labels=True,
    aggregated=True,
    works={
        "insert": _insert,
        "undo": _undo,
        "delete": _delete,
        "start": _start,
        "stop": _stop,
        "reset": _reset,
        "setMetadata": _set_metadata,
    },
    actions={"start": _no_body, "stop": _no_body, "reset": _no_body, "setMetadata": _take_metadata},
    bodiless=frozenset({"start", "stop", "reset"}),
    reads={"getGuestAttributes": ("GET", _guest_attributes), "serialPort": ("GET", _serial_port)},
    locked=_locked,
)
