"""
What the nodes would run and read, without a node: every task rendered with specimens in place of keys.

Facts come from the nodes themselves, which nobody has asked yet: each node is rendered with both values of every fact
that a task looks at.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from khw.certs.authority import Pair
from khw.certs.pki import ENCRYPTION_KEY_BYTES, Pki
from khw.cluster.model import Cluster, Facts, Node
from khw.converge.resources import Binary, Command, Directory, File, Unit, Wait
from khw.flags.unitfile import commands
from khw.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from khw.cluster.spec import Spec
    from khw.converge.resources import Content, Resource
    from khw.engine.phases import Phase

FACTS = (
    Facts(),
    Facts(cgroup=1, can_lower_oom_score=False, can_set_conntrack=False, zstd=True, swap=True, container=True),
)
SPECIMEN_ADDRESS = "192.0.2.1"  # RFC 5737: nobody's


@dataclass(frozen=True)
class Program:
    """A pinned binary as one node calls it (`where`: the unit, or the step), and the files that it reads."""

    where: str
    artifact: str
    argv: tuple[str, ...]
    rendered: Rendered = field(repr=False)
    inputs: tuple[str, ...] = ()
    unit: bool = True

    def shape(self) -> str:
        """Return the digest of all that the binary would see, less what tells one node from another."""
        seen = hashlib.sha256("\0".join(self.rendered.nameless(word) for word in self.argv).encode())
        for path in self.inputs:
            if path in self.rendered.files:
                seen.update(self.rendered.nameless(f"\0{path}\0{self.rendered.files[path]}").encode())
        return seen.hexdigest()


@dataclass(frozen=True)
class Rendered:
    """One node with one set of facts: all its resources, of all phases."""

    node: Node
    cluster: Cluster
    facts: Facts
    resources: tuple[Resource, ...] = field(repr=False)

    @cached_property
    def binaries(self) -> Mapping[str, str]:
        """The pinned binaries: path → artifact."""
        return {r.path: r.artifact for r in self.resources if isinstance(r, Binary)}

    @cached_property
    def files(self) -> Mapping[str, str]:
        """The files: path → text."""
        return {r.path: _text(r.content) for r in self.resources if isinstance(r, File)}

    @cached_property
    def directories(self) -> tuple[str, ...]:
        """The directories that tasks make."""
        return tuple(r.path for r in self.resources if isinstance(r, Directory))

    def programs(self) -> Iterator[Program]:
        """Yield every call of a pinned binary, in units and in steps."""
        for resource in self.resources:
            if isinstance(resource, Unit):
                for argv in commands(resource.content):
                    yield from self._program(resource.name, argv, resource.inputs, unit=True)
            elif isinstance(resource, Command):
                for argv in (resource.argv, resource.unless):
                    yield from self._program(resource.id, argv)
            elif isinstance(resource, Wait):
                yield from self._program(resource.id, resource.argv)

    def _program(
        self, where: str, argv: tuple[str, ...], inputs: tuple[str, ...] = (), *, unit: bool = False
    ) -> Iterator[Program]:
        if argv and argv[0] in self.binaries:
            yield Program(where, self.binaries[argv[0]], argv, self, inputs, unit)

    def nameless(self, text: str) -> str:
        """Return `text` without what is this node's own: its name, its addresses, its pods' range."""
        return self._own.sub("·", text)

    @cached_property
    def _own(self) -> re.Pattern[str]:
        ours = {self.cluster.api_address}
        for node in (self.node, *self.cluster.controllers, *self.cluster.etcd_members):
            ours |= {text for text in (node.name, node.internal_ip, node.external_ip, node.pod_cidr) if text}
        longest_first = sorted(ours, key=len, reverse=True)
        return re.compile(r"(?<![\w.])(?:" + "|".join(re.escape(text) for text in longest_first) + r")(?!\w)")


def planned(spec: Spec) -> Cluster:
    """Return the cluster that the file asks for, before there is a machine."""
    nodes = tuple(
        Node(
            name=machine.name,
            role=machine.role,
            internal_ip=str(machine.address),
            pod_cidr=str(machine.pod_cidr) if machine.pod_cidr else None,
            also=machine.also,
        )
        for machine in spec.planned
    )
    return Cluster(spec, nodes, SPECIMEN_ADDRESS)


def specimens(cluster: Cluster) -> Pki:
    """Return a Pki of the right shape with nothing in it: for names and paths, not for trust."""
    from khw.certs.identities import AUTHORITIES, identities

    pair = Pair(b"specimen\n", Secret(b"specimen\n"))
    return Pki(
        authorities={authority.name: pair for authority in AUTHORITIES},
        pairs={identity.name: pair for identity in identities(cluster)},
        encryption_key=Secret(bytes(ENCRYPTION_KEY_BYTES)),
    )


def render(phases: Iterable[Phase], cluster: Cluster, pki: Pki) -> Iterator[Rendered]:
    """Yield every node of the cluster with every set of facts."""
    phases = tuple(phases)
    for node in cluster.nodes:
        for facts in FACTS:
            yield render_one(phases, cluster, node, facts, pki)


def render_one(phases: Iterable[Phase], cluster: Cluster, node: Node, facts: Facts, pki: Pki) -> Rendered:
    """Return one node with these facts."""
    resources: list[Resource] = []
    for phase in phases:
        if phase.task is not None and phase.on(node):
            resources += phase.task(node.with_facts(facts), cluster, pki)
    return Rendered(node, cluster, facts, tuple(resources))


def _text(content: Content) -> str:
    raw = content.reveal() if isinstance(content, Secret) else content
    return raw if isinstance(raw, str) else raw.decode("utf-8", "surrogateescape")
