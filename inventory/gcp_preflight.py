"""Chapter 1 on GCP: what is missing in the project, told before anything is made."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from khw.checks import CheckResult, Status
from khw.errors import CredentialsError, ProviderError
from khw.inventory.gcp_compute import CLUSTER_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from khw.cluster.model import Planned, Pool, Spec
    from khw.inventory.gcp_clients import Api, Message


_Part: TypeAlias = "tuple[str, str, Callable[[], str]]"  # a check's name, what it expects, and the look


def preflight(api: Api, spec: Spec) -> list[CheckResult]:
    """Check credentials and project, region, zone, machine types, images and quotas."""
    gcp = api.gcp
    region: list[Message] = []

    def project() -> str:
        region.append(api.ask("RegionsClient", "get", f"looking at region {gcp.region}", _region_request(api)))
        return f"project {gcp.project} answers; region {gcp.region} is {region[0].status or 'UP'}"

    first = _checked("project", f"project {gcp.project} with region {gcp.region}", project)
    parts: list[_Part] = [("zone", f"zone {gcp.zone} is UP", partial(_zone, api)), *_pool_checks(api, spec)]
    quotas = ("quotas", "room for the machines that are missing")
    if first.status is not Status.PASSED:
        named = (*((name, expected) for name, expected, _ in parts), quotas)
        return [first, *(_skipped(*what, "the project does not answer") for what in named)]
    with ThreadPoolExecutor(len(parts), thread_name_prefix="khw-gcp") as pool:  # each is a round trip to the cloud
        rows = [first, *pool.map(lambda part: _checked(*part), parts)]
    if any(row.status is Status.FAILED for row in rows):
        return [*rows, _skipped(*quotas, "what failed above comes first")]
    return [*rows, _checked(*quotas, lambda: _quotas(api, spec, region[0]))]


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
    except ProviderError as error:
        status, actual = Status.FAILED, error.message
        command = next((text for kind, text in LISTS.items() if name.startswith(kind)), "")
        hint = error.hint or (f"`{command}` shows what there is" if command else "")
        name = "credentials" if isinstance(error, CredentialsError) else name
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
    """Give what `preflight` will ask."""
    yield "RegionsClient", "get", _region_request(api)
    yield "ZonesClient", "get", _zone_request(api)
    pools = (spec.controllers, spec.workers)
    for kind in {pool.machine_type for pool in pools}:
        yield "MachineTypesClient", "get", {**_zone_request(api), "machine_type": kind}
    for image in {pool.image for pool in pools}:
        yield "ImagesClient", *_image_reading(api, image)
    yield api.labelled_reading(CLUSTER_LABEL, spec.name)


def _region_request(api: Api) -> dict[str, str]:
    return {"project": api.gcp.project, "region": api.gcp.region}


def _zone_request(api: Api) -> dict[str, str]:
    return {"project": api.gcp.project, "zone": api.gcp.zone}


def _zone(api: Api) -> str:
    zone = api.ask("ZonesClient", "get", f"looking at zone {api.gcp.zone}", _zone_request(api))
    if zone.status and zone.status != "UP":
        raise ProviderError(f"zone {api.gcp.zone} is {zone.status}", hint="another zone, in gcp.zone")
    return f"zone {api.gcp.zone} is UP"


def _pool_checks(api: Api, spec: Spec) -> Iterator[_Part]:
    pools = (spec.controllers, spec.workers)
    for kind in sorted({pool.machine_type for pool in pools}):
        yield f"machine type {kind}", f"zone {api.gcp.zone} has {kind}", partial(_machine_type, api, kind)
    for image in sorted({pool.image for pool in pools}):
        yield f"image {image.rpartition('/')[2]}", f"{image} is there", partial(_image, api, image)


def _machine_type(api: Api, name: str) -> str:
    found = _type(api, name)
    return f"{name}: {found.guest_cpus} CPUs, {found.memory_mb} MB"


def _type(api: Api, name: str) -> Message:
    return api.ask(
        "MachineTypesClient",
        "get",
        f"looking for machine type {name}",
        {**_zone_request(api), "machine_type": name},
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


def _quotas(api: Api, spec: Spec, region: Message) -> str:
    """Compare what the missing machines need with what the region has left."""
    there = {str(row.name) for row in api.labelled(CLUSTER_LABEL, spec.name)}
    missing = [machine for machine in spec.planned if machine.name not in there]
    needs = Counter(_needs(api, spec, missing))
    short = [
        f"{quota.metric}: {needs[quota.metric]} more needed, {quota.limit - quota.usage:g} of {quota.limit:g} left"
        for quota in region.quotas
        if needs.get(str(quota.metric), 0) > quota.limit - quota.usage
    ]
    if short:
        raise ProviderError(
            "; ".join(short),
            hint=f"a smaller cluster, another region, or more quota for {api.gcp.region} "
            "(console: IAM & Admin, Quotas)",
        )
    return f"enough for {len(missing)} machines" if missing else "no machine is missing"


def _needs(api: Api, spec: Spec, missing: Sequence[Planned]) -> dict[str, int]:
    pools: dict[str, Pool] = {"controller": spec.controllers, "worker": spec.workers}
    kinds = Counter(pools[machine.role.value].machine_type for machine in missing)
    return {
        "CPUS": sum(_type(api, kind).guest_cpus * count for kind, count in kinds.items()),
        "INSTANCES": len(missing),
        "IN_USE_ADDRESSES": len(missing),
        "DISKS_TOTAL_GB": sum(pools[machine.role.value].disk_gb for machine in missing),
    }
