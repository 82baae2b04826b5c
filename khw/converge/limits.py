"""How long what a task asks for may take on a node: as the task says, or else as the cluster file does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from khw.converge.resources import Command, Image, Manifest, Package, Unit

if TYPE_CHECKING:
    from khw.cluster.spec import Timeouts
    from khw.converge.resources import Resource

T = TypeVar("T", bound="Resource")


def limited(resource: T, timeouts: Timeouts) -> T:
    """Return the resource with its limit: `timeouts.command`, or `timeouts.install` for packages and images."""
    if isinstance(resource, Command | Manifest | Unit) and resource.timeout is None:
        return replace(resource, timeout=timeouts.command)
    if isinstance(resource, Image | Package) and resource.timeout is None:
        return replace(resource, timeout=timeouts.install)
    return resource
