"""Chapter 1 on GCP: what is missing in the project, told before anything is made."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from khw.checks import CheckResult, Status
from khw.cluster.spec import BASTION_DISK_GB, BASTION_TYPE
from khw.errors import CredentialsError, DiffersError, ProviderError
from khw.inventory.gcp import destroy, rights
from khw.inventory.gcp.kinds import ADDRESS, DISK, FIREWALL, INSTANCE, ROUTE, ROUTER
from khw.inventory.gcp.machine import CLUSTER_LABEL
from khw.inventory.gcp.operations import Job, together
from khw.inventory.gcp.sources import source_ranges
from khw.inventory.gcp.zones import zones_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from khw.cluster.spec import Gcp, Planned, Spec
    from khw.inventory.gcp.clients import Api, Message


_Part: TypeAlias = "tuple[str, str, Callable[[], str]]"  # a check's name, what it expects, and the look


def preflight(api: Api, spec: Spec) -> list[CheckResult]:
    """
    Check what a run needs of the project.

    Always: project, region and zones, machine types and images, and who may come in. Where a machine is still to be
    made also rights, names that are taken, and quotas.
    """
    gcp = api.gcp
    region: list[Message] = []

    def project() -> str:
        region.append(api.ask("RegionsClient", "get", f"looking at region {gcp.region}", _region_request(api)))
        return f"project {gcp.project} answers; region {gcp.region} is {region[0].status or 'UP'}"

    first = _checked("project", f"project {gcp.project} with region {gcp.region}", project)
    there: set[str] = set()
    parts: list[_Part] = [
        ("source ranges", "it is known who may come in", partial(_sources, api, spec)),
        *((_zone_name(gcp, zone), f"zone {zone} is UP", partial(_zone, api, zone)) for zone in gcp.places),
        *_pool_checks(api, spec),
        ("machines", "a list of those that there are", partial(_machines, api, spec, there)),
    ]
    later: list[_Part] = [
        ("rights", "all that khw does is allowed", partial(rights.check, api)),
        ("names", "no name is somebody else's", partial(_names, api, spec)),
        ("quotas", "room for the machines that are missing", lambda: _quotas(api, spec, there, region[0])),
    ]
    if first.status is not Status.PASSED:
        return [first, *(_skipped(*part[:2], "the project does not answer") for part in (*parts, *later))]
    rows = [first, *_together(parts)]
    if any(row.status is Status.FAILED for row in rows):
        return [*rows, *(_skipped(*part[:2], "what failed above comes first") for part in later)]
    if there.issuperset(zones_of(spec, api.gcp)):
        return [*rows, *(_skipped(*part[:2], "no machine is missing") for part in later)]
    return [*rows, *_together(later)]


def _together(parts: Sequence[_Part]) -> list[CheckResult]:
    with ThreadPoolExecutor(len(parts), thread_name_prefix="khw-gcp") as pool:  # each is a round trip to the cloud
        return list(pool.map(lambda part: _checked(*part), parts))


def _zone_name(gcp: Gcp, zone: str) -> str:
    return "zone" if len(gcp.places) == 1 else f"zone {zone}"


def _sources(api: Api, spec: Spec) -> str:
    return ", ".join(source_ranges(spec, api.gcp))


def _machines(api: Api, spec: Spec, there: set[str]) -> str:
    there.update(str(row.name) for row in api.labelled(CLUSTER_LABEL, spec.name))
    return f"{len(there)} of {len(zones_of(spec, api.gcp))} are there"


def _names(api: Api, spec: Spec) -> str:
    """Look for what has one of the names that khw gives, and is not khw's for this cluster."""
    taken = [row.id for row in destroy.find(api, spec) if row.others == destroy.NOT_OURS]
    taken += _machine_names(api, spec)
    if taken:
        raise DiffersError(
            "; ".join(f"{row} is there, and not khw's for cluster {spec.name}" for row in taken),
            hint="take other names in the cluster file (network.name, network.subnet, the machines' names), or remove "
            "what has them, if nobody needs it",
        )
    return "none is taken"


def _machine_names(api: Api, spec: Spec) -> list[str]:
    """Return machines and disks (a boot disk has its machine's name) that are somebody else's."""
    places = [(kind, *row) for row in zones_of(spec, api.gcp).items() for kind in (INSTANCE, DISK)]
    found = together(api, [Job(row, partial(api.get, *row)) for row in places])
    theirs = [row for row in places if found[row] and found[row].labels.get(CLUSTER_LABEL) != spec.name]
    return [f"{kind.name}:{name}" for kind, name, _ in theirs]


def _skipped(name: str, expected: str, why: str) -> CheckResult:
    return CheckResult(name=name, node="", status=Status.SKIPPED, expected=expected, actual=why)


# What shows the choices, where a name in the cluster file is none of them.
LISTS = {
    "zone": "gcloud compute zones list",
    "machine type": "gcloud compute machine-types list",
    "image": "gcloud compute images list",
}


def _checked(name: str, expected: str, look: Callable[[], str]) -> CheckResult:
    began = time.monotonic()
    status, hint = Status.PASSED, ""
    try:
        actual = look()
    except rights.CannotAskError as error:
        return _skipped(name, expected, f"{error.message} ({error.hint})")
    except ProviderError as error:
        status, actual = Status.FAILED, error.message
        command = next((text for kind, text in LISTS.items() if name.startswith(kind)), "")
        hint = error.hint or (f"`{command}` shows what there is" if command else "")
        name = "credentials" if isinstance(error, CredentialsError) and name != "rights" else name
    return CheckResult(
        name=name,
        node="",
        status=status,
        expected=expected,
        actual=actual,
        hint=hint,
        seconds=time.monotonic() - began,
    )


def expected(api: Api, spec: Spec) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Give what `preflight` will ask, but for what it asks only where a machine is missing."""
    yield "RegionsClient", "get", _region_request(api)
    for zone in api.gcp.places:
        yield "ZonesClient", "get", _zone_request(api, zone)
        for kind in _types_in(api, spec, zone):
            yield "MachineTypesClient", "get", {**_zone_request(api, zone), "machine_type": kind}
    for image in {machine.image for machine in spec.planned}:
        yield "ImagesClient", *_image_reading(api, image)
    yield api.labelled_reading(CLUSTER_LABEL, spec.name)


def _region_request(api: Api) -> dict[str, str]:
    return {"project": api.gcp.project, "region": api.gcp.region}


def _zone_request(api: Api, zone: str) -> dict[str, str]:
    return {"project": api.gcp.project, "zone": zone}


def _zone(api: Api, name: str) -> str:
    zone = api.ask("ZonesClient", "get", f"looking at zone {name}", _zone_request(api, name))
    if zone.status and zone.status != "UP":
        raise ProviderError(f"zone {name} is {zone.status}", hint="another zone, in gcp.zone or gcp.zones")
    return f"zone {name} is UP"


def _pool_checks(api: Api, spec: Spec) -> Iterator[_Part]:
    several = len(api.gcp.places) > 1
    for zone in api.gcp.places:
        for kind in sorted(_types_in(api, spec, zone)):
            name = f"machine type {kind}" + (f" in {zone}" if several else "")
            yield name, f"zone {zone} has {kind}", partial(_machine_type, api, kind, zone)
    for image in sorted({machine.image for machine in spec.planned}):
        yield f"image {image.rpartition('/')[2]}", f"{image} is there", partial(_image, api, image)


def _types_in(api: Api, spec: Spec, zone: str) -> set[str]:
    """Return the machine types that a zone is to have: any node's, and the bastion's in the first."""
    bastion = {BASTION_TYPE} if api.gcp.private_nodes and zone == api.gcp.places[0] else set()
    return {pool.machine_type for pool in spec.pools.values() if pool.count} | bastion


def _machine_type(api: Api, name: str, zone: str) -> str:
    found = _type(api, name, zone)
    return f"{name}: {found.guest_cpus} CPUs, {found.memory_mb} MB"


def _type(api: Api, name: str, zone: str) -> Message:
    return api.ask(
        "MachineTypesClient",
        "get",
        f"looking for machine type {name} in {zone}",
        {**_zone_request(api, zone), "machine_type": name},
    )


def _image(api: Api, image: str) -> str:
    method, request = _image_reading(api, image)
    found = api.ask("ImagesClient", method, f"looking for image {image}", request)
    return f"{image} is {found.name}"


def _image_reading(api: Api, image: str) -> tuple[str, dict[str, str]]:
    """Return how to look up 'projects/P/global/images/NAME' or '…/images/family/FAMILY'."""
    parts = image.split("/")
    project = parts[parts.index("projects") + 1] if "projects" in parts else api.gcp.project
    if "family" in parts:
        return "get_from_family", {"project": project, "family": parts[-1]}
    return "get", {"project": project, "image": parts[-1]}


def _quotas(api: Api, spec: Spec, there: set[str], region: Message) -> str:
    """Compare what is still to be made with what the region and the project have left."""
    project = api.ask("ProjectsClient", "get", "looking at the project's quotas", {"project": api.gcp.project})
    missing = [machine for machine in spec.planned if machine.name not in there]
    bastion = api.gcp.private_nodes and spec.bastion_name not in there
    needs = Counter(_needs(api, spec, missing, bastion=bastion))
    if not there:
        needs.update(_needs_once(spec, api.gcp))
    short = [
        f"{quota.metric}: {needs[quota.metric]} more needed, {quota.limit - quota.usage:g} of {quota.limit:g} left"
        for quota in (*region.quotas, *project.quotas)
        if needs.get(str(quota.metric), 0) > quota.limit - quota.usage
    ]
    if short:
        raise ProviderError(
            "; ".join(short),
            hint=f"a smaller cluster, another region, or more quota for {api.gcp.region} "
            "(console: IAM & Admin, Quotas)",
        )
    return f"enough for {len(missing) + bastion} machines"


def _needs(api: Api, spec: Spec, missing: Sequence[Planned], *, bastion: bool) -> dict[str, int]:
    pools = spec.pools
    kinds = Counter(pools[machine.role].machine_type for machine in missing)
    if bastion:
        kinds[BASTION_TYPE] += 1
    cpus = {kind: _type(api, kind, api.gcp.places[0]).guest_cpus * count for kind, count in kinds.items()}
    families: Counter[str] = Counter()  # E2 counts among CPUS; others have a quota of their own beside it
    for kind, count in cpus.items():
        families[f"{kind.partition('-')[0].upper()}_CPUS"] += count
    return {
        **families,
        "CPUS": sum(cpus.values()),
        "INSTANCES": len(missing) + bastion,
        "IN_USE_ADDRESSES": int(bastion) if api.gcp.private_nodes else len(missing),
        "DISKS_TOTAL_GB": sum(pools[machine.role].disk_gb for machine in missing) + bastion * BASTION_DISK_GB,
    }


def _needs_once(spec: Spec, gcp: Gcp) -> dict[str, int]:
    """Return what a cluster needs beside machines, if nothing of it is there."""
    return {
        "NETWORKS": 1,
        "SUBNETWORKS": 1,
        "FIREWALLS": len(destroy.names_of(spec, FIREWALL)),
        "ROUTERS": len(destroy.names_of(spec, ROUTER)),
        "ROUTES": len(destroy.names_of(spec, ROUTE)) + 2,  # the network's and the subnet's own come along
        "STATIC_ADDRESSES": len(destroy.names_of(spec, ADDRESS)),
        "FORWARDING_RULES": 1,
        "HEALTH_CHECKS": 1,
        "BACKEND_SERVICES": 1,
        "INSTANCE_GROUPS": min(spec.controllers.count, len(gcp.places)),
    }
