"""
What kubeadm needs on the machines: the same runtime, kubelet and networks as khw's, and everything else as images.

    tree/kubeadm/hosts/HOST/PATH        binaries, units, containerd's and CNI's configuration, kubeadm.yaml
    tree/kubeadm/images/ROLE/NAME.tar   the images of a role's machines, as a registry would give them

kubeadm is built from the modules that the other Kubernetes binaries are built from. Its images are made of those
binaries; kube-proxy's has this machine's iptables in it, as the project's own image has Debian's.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from benchmarks.ground import PEERS
from benchmarks.tree import link, render, write
from khw.artifacts import lock
from khw.artifacts.build import Build
from khw.artifacts.cache import Cache, default_directory
from khw.artifacts.images import Image, write_image
from khw.artifacts.lock import Entry, Release
from khw.artifacts.recipes import KUBERNETES, kubernetes
from khw.cluster.spec import Role
from khw.converge.resources import Binary, File
from khw.files import write_atomically
from khw.tasks.containerd import network, runtime
from khw.tasks.workers import kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.ground import Ground
    from benchmarks.tree import Rendered
    from khw.cluster.model import Node
    from khw.converge.resources import Resource

KUBEADM = PEERS / "kubeadm"
ARCHITECTURE = "amd64"
BIN = "usr/local/bin"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
IMAGES = {
    Role.CONTROLLER: ("image-pause", *CONTROL_PLANE, "kube-proxy", "image-coredns"),  # kubeadm asks for each
    Role.WORKER: ("image-pause", "image-coredns", "image-agnhost", "kube-proxy"),
}
XTABLES = Path("/usr/sbin/xtables-nft-multi")
TABLES = tuple(f"{name}{end}" for name in ("iptables", "ip6tables") for end in ("", "-save", "-restore"))


def render_kubeadm(ground: Ground) -> Rendered:
    """Write the tree, and in it what kubeadm's machines get."""
    rendered = render(ground)
    home = rendered.directory / "kubeadm"
    for node in rendered.nodes:
        place = home / "hosts" / node.name
        for resource in _resources(node):
            write(home, place, resource, rendered.run.store)
        link(place / BIN / "kubeadm", kubeadm())
        if node.role is Role.CONTROLLER:
            _render_controller(rendered, node, place)
    _render_images(ground, rendered, home / "images")
    return rendered


def kubeadm() -> Path:
    """Return the program, from the cache or built into it."""
    url = f"https://dl.k8s.io/{KUBERNETES}/bin/linux/{ARCHITECTURE}/kubeadm"
    release = Release(url=url, digest_url=f"{url}.sha256")
    entry = Entry(
        name="kubeadm", kind="binary", version=KUBERNETES, recipe="kubernetes", upstream={ARCHITECTURE: release}
    )
    cache = Cache(default_directory())
    if kept := cache.read(entry, ARCHITECTURE):
        return kept.path
    builder = Build(cache, {"kubeadm": kubernetes("cmd/kubeadm")})
    with cache.scratch() as scratch:
        built = builder.fetch(entry, ARCHITECTURE, scratch, lambda line: print(line, file=sys.stderr))
        return cache.publish(entry, ARCHITECTURE, built.path, source="build", origin=built.origin).path


def _resources(node: Node) -> Iterator[Resource]:
    """Yield what every machine gets. Controllers have no pods of the pods' network, so no CNI, as in the guide."""
    yield from kernel()
    yield from runtime(node, lock.entry("image-pause").reference)
    if node.role is Role.WORKER:
        yield from network(node)
    yield Binary(path=f"/{BIN}/kubelet", artifact="kubelet")
    yield Binary(path=f"/{BIN}/kubectl", artifact="kubectl")
    yield File(path="/etc/systemd/system/kubelet.service", content=(KUBEADM / "kubelet.service").read_text())


def _render_controller(rendered: Rendered, node: Node, place: Path) -> None:
    """Write chapter 6's file, the same as for all contestants, and what `kubeadm init` reads."""
    encryption = rendered.directory / "encryption" / node.name / "var/lib/kubernetes/encryption-config.yaml"
    target = place / "etc/kubernetes/encryption" / encryption.name
    write_atomically(target, encryption.read_bytes(), mode=0o600)
    if node.name == rendered.run.cluster.controllers[0].name:
        write_atomically(place / "etc/kubernetes/kubeadm.yaml", configuration(rendered, node).encode(), mode=0o600)


def configuration(rendered: Rendered, node: Node) -> str:
    """Return kubeadm.yaml: the cluster of the file, and what these machines cannot do otherwise."""
    cluster = rendered.run.cluster
    repository, _, tag = lock.entry("image-coredns").reference.rpartition(":")
    return Template((KUBEADM / "kubeadm.yaml").read_text()).substitute(
        address=node.internal_ip,
        endpoint=cluster.api_url.removeprefix("https://"),
        kubernetes=KUBERNETES,
        service_cidr=cluster.network.service_cidr,
        cluster_cidr=cluster.network.cluster_cidr,
        etcd=lock.entry("etcd").version,
        coredns_repository=repository.rpartition("/")[0],
        coredns_tag=tag,
        cgroup_driver="systemd" if node.facts.cgroup == 2 else "cgroupfs",
        fail_cgroup_v1=str(node.facts.cgroup == 2).lower(),
        fail_swap_on=str(not node.facts.container).lower(),
        conntrack="null" if node.facts.can_set_conntrack else 0,
    )


def _render_images(ground: Ground, rendered: Rendered, home: Path) -> None:
    for role, names in IMAGES.items():
        for name in names:
            archive = _image(ground, rendered, name)
            link(home / role.value / f"{name}.tar", archive)


def _image(ground: Ground, rendered: Rendered, name: str) -> Path:
    """Return an image's archive: khw's own, or one made around the program, once."""
    program = rendered.run.store.get(name)
    if program.reference:
        return program.path
    archive = ground.root / "images" / f"{name}-{program.sha256[:16]}.tar"
    if not archive.exists():
        archive.parent.mkdir(exist_ok=True)
        part = archive.with_suffix(".part")
        reference = f"registry.k8s.io/{name}:{program.version}"
        image = _proxy_image() if name == "kube-proxy" else Image(program=f"{BIN}/{name}", entrypoint=(name,))
        write_image(image, program.path, reference=reference, architecture=ARCHITECTURE, to=part)
        part.replace(archive)
    return archive


def _proxy_image() -> Image:
    """Return kube-proxy with iptables: the program, its libraries and its extensions."""
    listed = subprocess.run(("ldd", str(XTABLES)), capture_output=True, text=True, check=True).stdout
    libraries = [Path(word) for word in listed.split() if word.startswith("/")]
    extensions = next(path for path in Path("/usr/lib").glob("*/xtables")).iterdir()
    return Image(
        program=f"{BIN}/kube-proxy",
        entrypoint=(f"/{BIN}/kube-proxy",),
        links={f"usr/sbin/{name}": XTABLES.name for name in TABLES},
        others={str(path).lstrip("/"): path for path in (XTABLES, *libraries, *extensions)},
    )
