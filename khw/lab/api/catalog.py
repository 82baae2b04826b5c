"""What is there without being inserted: the project itself, its region and zones, machine types and images."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from khw.lab.api.links import BASE, last, link, parse
from khw.lab.api.problems import invalid, not_found

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from khw.lab.api.project import Project

    Json = dict[str, Any]

REGION = "us-west1"
ZONES = (f"{REGION}-a", f"{REGION}-b", f"{REGION}-c")
PLACES = ("global", f"regions/{REGION}", *(f"zones/{zone}" for zone in ZONES))
BORN = "2026-01-01T00:00:00.000+00:00"

# Name -> CPUs and memory in MB; what a lab's machines really have is what this host has.
_MACHINE_TYPES = {
    "e2-micro": (2, 1024),
    "e2-small": (2, 2048),
    "e2-medium": (2, 4096),
    "e2-standard-2": (2, 8192),
    "e2-standard-4": (4, 16384),
    "e2-standard-8": (8, 32768),
    "n1-standard-1": (1, 3840),
    "n2-standard-2": (2, 8192),
}

IMAGE_PROJECT = "debian-cloud"
# Name -> family: the backend boots a family.
_IMAGES = {"debian-12-bookworm-v20261110": "debian-12", "debian-13-trixie-v20261110": "debian-13"}
_GUEST_FEATURES = (
    "UEFI_COMPATIBLE",
    "VIRTIO_SCSI_MULTIQUEUE",
    "GVNIC",
    "SEV_CAPABLE",
)  # Debian's, as Google shows them
# What the last part of a link is, by where it leads; gcloud names a family by its view from a zone.
_IMAGE_LINKS = {"images": "name", "images/family": "family", "imageFamilyViews": "family"}

# What an ordinary project may have at once, and how it is counted.
_PROJECT_QUOTAS = {
    "NETWORKS": (15, "networks"),
    "FIREWALLS": (200, "firewalls"),
    "ROUTES": (250, "routes"),
    "ROUTERS": (20, "routers"),
}
_REGION_QUOTAS = {
    "CPUS": (1000, ""),
    "DISKS_TOTAL_GB": (100_000, ""),
    "INSTANCES": (240, "instances"),
    "STATIC_ADDRESSES": (100, "addresses"),
    "IN_USE_ADDRESSES": (240, ""),
}


def number(text: str) -> str:
    """Return an id for something whose name says all there is to know of it."""
    return str(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]))


def _common(kind: str, project: str, key: str, **fields: Any) -> Json:
    return {
        "kind": f"compute#{kind}",
        "id": number(key),
        "name": last(key),
        "creationTimestamp": BORN,
        "selfLink": link(project, key),
        **fields,
    }


def check_place(level: str, name: str) -> None:
    """Refuse a region or zone that there is not."""
    if level != "global" and name not in ({"region": (REGION,), "zone": ZONES}[level]):
        raise invalid(level, name, f"Unknown {level}.")


def zones(project: Project, _scope: str) -> list[Json]:
    """Return the zones."""
    region = link(project.name, f"regions/{REGION}")
    return [_common("zone", project.name, f"zones/{zone}", status="UP", region=region) for zone in ZONES]


def regions(project: Project, _scope: str) -> list[Json]:
    """Return the region, with its quotas and what of them is used."""
    quotas = _quotas(project, _REGION_QUOTAS)
    links = [link(project.name, f"zones/{zone}") for zone in ZONES]
    row = _common("region", project.name, f"regions/{REGION}", status="UP", zones=links, quotas=quotas)
    return [row]


def describe_project(project: Project) -> Json:
    """Return the project resource."""
    empty = {"kind": "compute#metadata", "fingerprint": project.fingerprint({})}
    return {
        "kind": "compute#project",
        "id": number(project.name),
        "name": project.name,
        "creationTimestamp": BORN,
        "selfLink": f"{BASE}projects/{project.name}",
        "commonInstanceMetadata": empty,
        "defaultNetworkTier": "PREMIUM",
        "defaultServiceAccount": f"{number(project.name)}-compute@developer.gserviceaccount.com",
        "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS",
        "quotas": _quotas(project, _PROJECT_QUOTAS),
    }


def _quotas(project: Project, limits: Mapping[str, tuple[int, str]]) -> list[Json]:
    special = {
        "CPUS": lambda: sum(_MACHINE_TYPES[last(e.body["machineType"])][0] for e in project.of("instances")),
        "DISKS_TOTAL_GB": lambda: sum(
            int(disk["diskSizeGb"]) for e in project.of("instances") for disk in e.body["disks"]
        ),
        "IN_USE_ADDRESSES": lambda: len(project.external_addresses()),
    }
    return [
        {
            "metric": metric,
            "limit": float(limit),
            "usage": float(special[metric]() if metric in special else len(list(project.of(collection)))),
        }
        for metric, (limit, collection) in limits.items()
    ]


def machine_types(project: Project, scope: str) -> list[Json]:
    """Return a zone's machine types."""
    zone = last(scope)
    return [
        _common(
            "machineType",
            project.name,
            f"zones/{zone}/machineTypes/{name}",
            description=f"{cpus} vCPU, {memory // 1024} GB RAM",
            guestCpus=cpus,
            memoryMb=memory,
            isSharedCpu=name in {"e2-micro", "e2-small", "e2-medium"},
            maximumPersistentDisks=128,
            maximumPersistentDisksSizeGb="263168",
            imageSpaceGb=0,
            architecture="X86_64",
            zone=zone,
        )
        for name, (cpus, memory) in _MACHINE_TYPES.items()
    ]


def disk_types(project: Project, scope: str) -> list[Json]:
    """Return a zone's disk types; here they are all the same disk."""
    zone = last(scope)
    return [
        _common(
            "diskType",
            project.name,
            f"zones/{zone}/diskTypes/{name}",
            description=text,
            validDiskSize="10GB-65536GB",
            defaultDiskSizeGb=default,
            zone=link(project.name, f"zones/{zone}"),
        )
        for name, text, default in (
            ("pd-standard", "Standard Persistent Disk", "500"),
            ("pd-balanced", "Balanced Persistent Disk", "100"),
            ("pd-ssd", "SSD Persistent Disk", "100"),
        )
    ]


def check_machine_type(text: object, zone: str, project: Project) -> str:
    """Return the full link of a machine type of this zone."""
    reference = parse(text, project.name, "resource.machineType")
    if reference.collection != "machineTypes" or reference.scope != f"zones/{zone}":
        raise invalid("resource.machineType", text, "The machine type must be of the instance's zone.")
    if reference.name not in _MACHINE_TYPES:
        raise not_found(reference.path)
    return link(project.name, reference.key)


def images() -> list[Json]:
    """Return the images of the project debian-cloud."""
    return [
        _common(
            "image",
            IMAGE_PROJECT,
            f"global/images/{name}",
            family=family,
            status="READY",
            sourceType="RAW",
            architecture="X86_64",
            diskSizeGb="10",
            archiveSizeBytes="0",
            description=f"Debian, {name}",
            guestOsFeatures=[{"type": kind} for kind in _GUEST_FEATURES],
            licenses=[link(IMAGE_PROJECT, f"global/licenses/{name.rsplit('-', 1)[0]}")],
        )
        for name, family in _IMAGES.items()
    ]


def image_from_family(family: str) -> Json:
    """Return the newest image of a family."""
    return _first(images(), family, "family", f"projects/{IMAGE_PROJECT}/global/images/family/{family}")


def find_image(text: object, project: Project, field: str) -> Json:
    """Return the image that a link names, itself or its family."""
    reference = parse(text, project.name, field)
    choice = images() if reference.project == IMAGE_PROJECT else []
    by = _IMAGE_LINKS.get(reference.collection)
    if by is None:
        raise invalid(field, text, "It is not an image.")
    return _first(choice, reference.name, by, reference.path)


def _first(choice: Iterable[Json], wanted: str, by: str, path: str) -> Json:
    for image in choice:
        if image[by] == wanted:
            return image
    raise not_found(path)
