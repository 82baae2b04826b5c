"""
What a picture shows, as values: boxes in boxes, and links between them. SVG and Mermaid are both drawn from it.

A box's `kind` and a link's `kind` say what it is, and with that how it looks; nothing is told by colour alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a box stands for."""

    OUTSIDE = "outside"
    NETWORK = "network"
    BALANCER = "balancer"
    CONTROLLER = "controller"
    WORKER = "worker"
    COMPONENT = "component"
    PODS = "pods"
    ROUTE = "route"
    FIREWALL = "firewall"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Line(StrEnum):
    """What a link stands for."""

    PLAIN = "plain"
    ROUTE = "route"
    KUBERNETES = "kubernetes"  # both sides by the Kubernetes authority
    ETCD = "etcd"
    TOKEN = "token"  # noqa: S105 - the client has no certificate and shows a token
    BARE = "bare"  # the client shows nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """
    A thing, or (named as `parent` by others) what they are in; `note` is what a pointer resting on it is told.

    `foot`: its text stands under what is in it, where no line comes in.
    """

    id: str
    title: str
    lines: tuple[str, ...] = ()
    kind: Kind = Kind.COMPONENT
    parent: str = ""
    note: str = ""
    foot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """From who asks to who answers; `number` stands in the picture where the label would have no room."""

    source: str
    target: str
    label: str = ""
    kind: Line = Line.PLAIN
    number: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """
    All of it; `description` says in words what is to be seen, for those who cannot see it.

    `legend` are lines under the picture: what its numbers and its kinds of lines mean.
    """

    name: str
    title: str
    description: str
    boxes: tuple[Box, ...]
    links: tuple[Link, ...] = ()
    legend: tuple[str, ...] = ()

    def box(self, identity: str) -> Box:
        """Return the box of this id."""
        return next(box for box in self.boxes if box.id == identity)

    def inside(self, identity: str) -> tuple[Box, ...]:
        """Return the boxes that are in this one."""
        return tuple(box for box in self.boxes if box.parent == identity)
