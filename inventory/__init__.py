"""khw.inventory: where nodes come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from khw.cluster.spec import Spec
    from khw.inventory.provider import Provider


def provider_for(spec: Spec, ssh_public_key: str) -> Provider:
    """Return the provider that the cluster file names; new machines let `ssh_public_key` in."""
    if spec.provider == "static":
        from khw.inventory.static import StaticProvider

        return StaticProvider(spec)
    from khw.inventory.gcp.provider import GcpProvider  # compute_v1 takes 2 s to import

    return GcpProvider(spec, ssh_public_key)
