"""
What goes on the nodes, as a CycloneDX document: each binary and image, and the Go modules that each was linked from.

Written with the specification's own library (docs/decisions/0033). It says only what is known: a digest that
was measured, the place that a file came from, and what the Go linker wrote into it. The same artifacts make the same
document, so there is no time in it, and its serial number follows from its content.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from khw import __version__
from khw.artifacts import gomodules

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

    from khw.artifacts.gomodules import Built
    from khw.artifacts.lock import Entry, Lock
    from khw.artifacts.store import Artifact

LICENCE = "Apache-2.0"  # each project of the lock file has this one
NAMESPACE = UUID("6b1d0d8e-52f5-4c0e-9a2e-9d8f3e2c7a11")  # of the serial numbers that are made here
SECCOMP = "libseccomp"  # what runc is linked with, statically, that is no Go module
SECCOMP_LICENCE = "LGPL-2.1-only"

PROJECTS = {
    "kubernetes": ("k8s.io/kubernetes", "https://github.com/kubernetes/kubernetes"),
    "pause": ("k8s.io/kubernetes", "https://github.com/kubernetes/kubernetes"),
    "agnhost": ("k8s.io/kubernetes", "https://github.com/kubernetes/kubernetes"),
    "etcd": ("go.etcd.io/etcd", "https://github.com/etcd-io/etcd"),
    "containerd": ("github.com/containerd/containerd", "https://github.com/containerd/containerd"),
    "runc": ("github.com/opencontainers/runc", "https://github.com/opencontainers/runc"),
    "cni": ("github.com/containernetworking/plugins", "https://github.com/containernetworking/plugins"),
    "coredns": ("github.com/coredns/coredns", "https://github.com/coredns/coredns"),
}
"""By recipe: the project's name as a Go package, and its home."""


def document(lock: Lock, artifacts: Sequence[Artifact]) -> str:
    """Return the SBOM of these artifacts, CycloneDX 1.6 as JSON."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    bom = Bom()
    bom.metadata.component = Component(
        name="khw-nodes",
        version=__version__,
        type=ComponentType.PLATFORM,
        bom_ref="nodes",
        description="What khw puts on the nodes of a cluster",
    )
    modules: dict[str, Component] = {}
    parts = [_with_modules(bom, modules, lock.entry(one.name), one) for one in artifacts]
    bom.register_dependency(bom.metadata.component, parts)
    return _settled(JsonV1Dot6(bom).output_as_string())


def _settled(text: str) -> str:
    """Return the document without the time at which it was made, and with a number that its content decides."""
    data = json.loads(text)
    data["metadata"].pop("timestamp", None)
    data.pop("serialNumber", None)
    number = uuid5(NAMESPACE, json.dumps(data, sort_keys=True))
    return json.dumps({"serialNumber": number.urn, **data}, indent=2, sort_keys=True) + "\n"


def _with_modules(bom: Bom, modules: dict[str, Component], entry: Entry, artifact: Artifact) -> Component:
    built = _built(entry, artifact)
    component = _component(entry, artifact, built)
    bom.components.add(component)
    linked = [*_modules(modules, built)]
    if entry.name == "runc":
        linked.append(modules.setdefault(SECCOMP, _seccomp()))
    for module in linked:
        bom.components.add(module)
    bom.register_dependency(component, linked)
    return component


def _built(entry: Entry, artifact: Artifact) -> list[Built]:
    if entry.kind == "image":
        return gomodules.of_image(artifact.path)
    built = gomodules.of_binary(artifact.path)
    return [built] if built else []


def _component(entry: Entry, artifact: Artifact, built: Sequence[Built]) -> Component:
    from cyclonedx.model import ExternalReference as Reference
    from cyclonedx.model import ExternalReferenceType as Kind
    from cyclonedx.model import HashAlgorithm, HashType, Property, XsUri
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense

    home = PROJECTS.get(entry.recipe, ("", ""))[1]
    release = entry.release(artifact.architecture)
    references = []
    if "build: " not in artifact.origin:  # else the release file is not what is here
        references.append(Reference(type=Kind.DISTRIBUTION, url=XsUri(release.url)))
    if home:
        references.append(Reference(type=Kind.WEBSITE, url=XsUri(home)))
    said = {
        "khw:architecture": artifact.architecture,
        "khw:origin": artifact.origin,
        **({"khw:reference": artifact.reference} if artifact.reference else {}),
        **{f"khw:go:{one.package}": one.go for one in built},
    }
    return Component(
        name=entry.name,
        version=entry.version,
        type=ComponentType.CONTAINER if entry.kind == "image" else ComponentType.APPLICATION,
        bom_ref=f"{entry.name}@{entry.version}?arch={artifact.architecture}",
        purl=_purl(entry, artifact),
        licenses=[DisjunctiveLicense(id=LICENCE)] if entry.recipe in PROJECTS else (),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=artifact.sha256)],
        external_references=references,
        properties=[Property(name=name, value=value) for name, value in said.items()],
    )


def _purl(entry: Entry, artifact: Artifact) -> PackageURL:
    from packageurl import PackageURL

    if entry.kind == "image":
        where, _, name = entry.reference.rpartition(":")[0].rpartition("/")
        qualifiers = {"arch": artifact.architecture, "repository_url": f"{where}/{name}", "tag": entry.version}
        # the digest of an image in a registry is its manifest's, which a build of one's own does not have
        return PackageURL("oci", name=name, version=None, qualifiers=qualifiers)
    namespace, _, name = PROJECTS.get(entry.recipe, (entry.name, ""))[0].rpartition("/")
    qualifiers = {"goarch": artifact.architecture, "goos": "linux"}
    return PackageURL("golang", namespace or None, name, entry.version, qualifiers, entry.name)


def _modules(known: dict[str, Component], built: Iterable[Built]) -> list[Component]:
    """Return the components of these programs' modules, each made once."""
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    linked = {}
    for module in (module for one in built for module in one.modules):
        namespace, _, name = module.path.rpartition("/")
        purl = PackageURL("golang", namespace or None, name, module.version)
        key = purl.to_string()
        if key not in known:
            known[key] = Component(
                name=module.path,
                version=module.version,
                type=ComponentType.LIBRARY,
                bom_ref=key,
                purl=purl,
                properties=[Property(name="khw:go.sum", value=module.checksum)] if module.checksum else (),
            )
        linked[key] = known[key]
    return list(linked.values())


def _seccomp() -> Component:
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense

    return Component(
        name=SECCOMP,
        type=ComponentType.LIBRARY,
        bom_ref=SECCOMP,
        description="linked statically; its version is that of the machine that built runc",
        licenses=[DisjunctiveLicense(id=SECCOMP_LICENCE)],
    )
