"""The exact content on one cluster: values of flags and fields, files with their secrets masked, certificates."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from khw.certs import fields
from khw.certs.identities import AUTHORITIES, identities
from khw.cluster.edges import edges
from khw.converge.resources import File, Manifest, Unit
from khw.engine.phases import PHASES
from khw.explain import symbols
from khw.flags.unitfile import commands

if TYPE_CHECKING:
    from khw.certs.identities import Identity
    from khw.converge.resources import Resource
    from khw.explain.guide import Guide

CONFIGURATION = {
    "/var/lib/kubelet/kubelet-config.yaml": "kubelet",
    "/var/lib/kube-proxy/kube-proxy-config.yaml": "kube-proxy",
    "/etc/kubernetes/config/kube-scheduler.yaml": "kube-scheduler",
    "/etc/containerd/config.toml": "containerd",
    "/etc/cni/net.d/10-bridge.conf": "containerd",
    "/etc/cni/net.d/99-loopback.conf": "containerd",
}
"""Files whose fields have texts of their own, and in which component's book."""


class Content:
    """What tasks give the nodes of a guide's cluster."""

    def __init__(self, guide: Guide) -> None:
        self.guide = guide

    @cached_property
    def by_host(self) -> Mapping[str, Mapping[str, Resource]]:
        """Every resource by node and by path or id; a unit by its unit file."""
        return {
            node.name: {_key(r): r for phase in PHASES for r in self.guide.resources(phase, node)}
            for node in self.guide.cluster.nodes
        }

    @cached_property
    def paths(self) -> Mapping[str, tuple[str, ...]]:
        """Files, unit files and sets of objects: path or name → the nodes that have it."""
        found: dict[str, tuple[str, ...]] = {}
        for host, resources in self.by_host.items():
            for key, resource in resources.items():
                if hasattr(resource, "path") or isinstance(resource, Unit | Manifest):
                    found[key] = (*found.get(key, ()), host)
        return found

    @cached_property
    def flags(self) -> Mapping[tuple[str, str], Mapping[str, str]]:
        """(component, flag) → node → value."""
        found: dict[tuple[str, str], dict[str, str]] = {}
        for host, resources in self.by_host.items():
            for unit in resources.values():
                if isinstance(unit, Unit):
                    component = unit.name.removesuffix(".service")
                    for flag, value in _flags(unit, component):
                        found.setdefault((component, flag), {})[host] = value
        return found

    @cached_property
    def options(self) -> Mapping[str, Mapping[str, str]]:
        """Option of a unit file → unit → its values, in its order; ExecStart's are flags, and told as such."""
        found: dict[str, dict[str, str]] = {}
        for resources in self.by_host.values():
            for unit in resources.values():
                if isinstance(unit, Unit):
                    for name, values in _options(unit.content).items():
                        found.setdefault(name, {}).setdefault(unit.name, "; ".join(values))
        return found

    @cached_property
    def fields(self) -> Mapping[tuple[str, str], Mapping[str, str]]:
        """(component, field) → node → where it is in its file, and its value."""
        found: dict[tuple[str, str], dict[str, str]] = {}
        for host, resources in self.by_host.items():
            for path, component in CONFIGURATION.items():
                file = resources.get(path)
                if isinstance(file, File):
                    for name, place in _fields(_parsed(path, symbols.text_of(file.content))):
                        found.setdefault((component, name), {}).setdefault(host, f"{path}: {place}")
        return found

    def text(self, path: str, host: str) -> str:
        """Return what a file holds on a node: secrets masked, a certificate by what it says."""
        resource = self.by_host[host][path]
        if isinstance(resource, Unit):
            return resource.content
        if isinstance(resource, Manifest):
            return resource.documents
        if isinstance(resource, File):
            if name := symbols.file_of(resource.content):
                return "(masked)" if name.endswith("-key.pem") else self.certificate(name.removesuffix(".pem"))
            return _masked(symbols.text_of(resource.content))
        return ""

    def certificate(self, name: str) -> str:
        """Return what a certificate says: the one that was issued, or the one that will be."""
        issued = self.guide.home / "pki" / f"{name}.pem"
        if issued.exists():
            return "\n".join(fields.describe(issued.read_bytes()))
        identity = self.identity(name)
        return "(not issued yet)" + ("\n" + "\n".join(_will_say(identity)) if identity else "")

    def identity(self, name: str) -> Identity | None:
        """Return an identity by its name."""
        return next((row for row in identities(self.guide.cluster) if row.name == name), None)

    @property
    def certificates(self) -> tuple[str, ...]:
        """The names of all authorities and identities."""
        rows = (row.name for row in identities(self.guide.cluster))
        return (*(f"{authority.name}-ca" for authority in AUTHORITIES), *rows)

    def places(self, name: str) -> list[str]:
        """Return where a certificate lies on nodes: 'PATH on NODES'."""
        found: dict[str, list[str]] = {}
        for host, resources in self.by_host.items():
            for path, resource in resources.items():
                if isinstance(resource, File) and f"{name}.pem" in _named(resource):
                    found.setdefault(path, []).append(host)
        return [f"{path} on {', '.join(hosts)}" for path, hosts in found.items()]

    def talks(self, name: str) -> list[str]:
        """Return the connections in which a certificate is shown, by who shows it to whom."""
        rows = edges(self.guide.cluster)
        shown = [(e.client, e.server, e) for e in rows if e.client_identity == name]
        served = [(e.server, e.client, e) for e in rows if e.server_identity == name]
        return [f"{one} shows it to {other} at {e.address}:{e.port}" for one, other, e in shown + served]


def _key(resource: Resource) -> str:
    if isinstance(resource, Unit):
        return f"/etc/systemd/system/{resource.name}"
    if isinstance(resource, Manifest):
        return resource.name
    return getattr(resource, "path", resource.id)


def _named(file: File) -> set[str]:
    """Return the files of the PKI that a file is, or embeds."""
    name = symbols.file_of(file.content)
    return {name} if name else set(symbols.embedded(symbols.text_of(file.content)).values())


def _masked(text: str) -> str:
    for token, name in symbols.embedded(text).items():
        secret = name.endswith("-key.pem") or name == symbols.ENCRYPTION_KEY
        text = text.replace(token, "(masked)" if secret else f"({name}, in base64)")
    return text


def _flags(unit: Unit, component: str) -> Iterator[tuple[str, str]]:
    for argv in commands(unit.content):
        if argv[0].endswith(f"/{component}"):
            for word in argv[1:]:
                name, _, value = word.lstrip("-").partition("=")
                yield name, value


def _options(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.replace("\\\n", "").splitlines():
        name, equals, value = line.partition("=")
        if equals and name.isalpha():
            found.setdefault(name, []).append(value if name != "ExecStart" else value.partition(" ")[0])
    return found


def _parsed(path: str, text: str) -> Any:
    if path.endswith(".toml"):
        return tomllib.loads(text)
    if path.endswith(".conf"):
        return json.loads(text)
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text)


def _fields(tree: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """Yield every field's name, with its place in the tree and its value (if it is no tree itself)."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            place = f"{above}.{name}" if above else str(name)
            said = "" if isinstance(value, dict) else f" = {json.dumps(value)}"
            yield str(name), f"{place}{said}"
            yield from _fields(value, place)
    elif isinstance(tree, list):
        for value in tree:
            yield from _fields(value, f"{above}[]")


def _will_say(identity: Identity) -> list[str]:
    return [
        f"subject: CN={identity.common_name},O={identity.organization}",
        f"issuer: the authority {identity.authority}",
        *(f"name: {name}" for name in identity.names),
        *(f"address: {address}" for address in identity.addresses),
        f"used as: {', '.join(identity.usages) or 'neither server nor client: only its keys are used'}",
    ]
