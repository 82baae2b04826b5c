"""
What the credentials have to be allowed in the project, and what of it they are not: asked, before anything is made.

A service account with a role of exactly these can do all that khw does (docs/how-to/google-cloud.md). What is needed
for each request is Google's: https://cloud.google.com/compute/docs/access/iam-permissions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.errors import CredentialsError, ProviderError
from khw.inventory.gcp.errors import explained, is_disabled
from khw.inventory.gcp.library import refusals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.inventory.gcp.clients import Api

MADE = ("create", "delete", "get", "list")
NEEDED: dict[str, tuple[str, ...]] = {
    "networks": (*MADE, "updatePolicy", "use"),  # firewall rules and routes are its policy
    "subnetworks": (*MADE, "use", "useExternalIp"),
    "firewalls": (*MADE, "update"),
    "routes": MADE,
    "addresses": (*MADE, "setLabels", "use"),
    "instances": (*MADE, "getGuestAttributes", "setLabels", "setMetadata", "setTags", "use"),
    "disks": ("create", "delete", "get", "list", "setLabels"),
    "instanceGroups": (*MADE, "update", "use"),
    "regionHealthChecks": (*MADE, "useReadOnly"),
    "regionBackendServices": (*MADE, "use"),
    "forwardingRules": (*MADE, "setLabels"),
    "routers": ("list",),  # khw destroy looks for those of a cluster whose file no longer asks for private nodes
    "projects": ("get",),
    "regions": ("get",),
    "zones": ("get",),
    "machineTypes": ("get",),
    "globalOperations": ("get",),
    "regionOperations": ("get",),
    "zoneOperations": ("get",),
}
FOR_PRIVATE_NODES: dict[str, tuple[str, ...]] = {"routers": MADE}
MOST_AT_ONCE = 100  # permissions in one question


def permissions(*, private_nodes: bool = False) -> list[str]:
    """Return all that khw needs, in order."""
    kinds = {**NEEDED, **(FOR_PRIVATE_NODES if private_nodes else {})}
    return sorted(f"compute.{kind}.{verb}" for kind, verbs in kinds.items() for verb in verbs)


class CannotAskError(ProviderError):
    """The service that knows which rights there are is not enabled: they show when they are used."""


def check(api: Api) -> str:
    """Return that all rights are there; an error names those that are not."""
    project = api.gcp.project
    needed = permissions(private_nodes=api.gcp.private_nodes)
    held: set[str] = set()
    with explained("asking for rights", api.gcp):
        for part in _parts(needed):
            try:
                said = api.beside(
                    "cloudresourcemanager", f"v1/projects/{project}:testIamPermissions", {"permissions": part}
                )
            except refusals.Forbidden as error:
                if not is_disabled(error):
                    raise
                raise CannotAskError(
                    "the Cloud Resource Manager API is not enabled, so nobody says which rights there are",
                    hint=f"`gcloud services enable cloudresourcemanager.googleapis.com --project {project}`",
                ) from None
            held.update(said.get("permissions", ()))
    missing = [name for name in needed if name not in held]
    if missing:
        raise CredentialsError(
            f"these credentials may not do all that it takes in project {project}: {', '.join(missing)}",
            hint="roles/compute.admin gives all of them; or a role of your own: `gcloud iam roles create khw "
            f"--project {project} --permissions {','.join(needed)}`, and grant it",
        )
    return f"all {len(needed)} are there"


def _parts(rows: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(rows), MOST_AT_ONCE):
        yield rows[start : start + MOST_AT_ONCE]
