"""Packages of the distribution, and container images."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Optional

from khw.agent.node import CREATED, UNCHANGED, UPDATED, FailureError, Outcome
from khw.agent.paths import receive
from khw.agent.relay import room

if TYPE_CHECKING:
    from khw.agent.node import Node

CTR = ("ctr", "--namespace", "k8s.io", "images")
APT = (
    "apt-get",
    "--option=Acquire::Retries=1",
    "--option=Acquire::http::Timeout=10",
    "--option=DPkg::Lock::Timeout=60",
    "--option=Dpkg::Options::=--force-confold",  # a file that is there already is no question to nobody: it stays
    "--quiet",
    "--yes",
)


def has_commands(provides: str) -> bool:
    """Whether all these commands are on PATH."""
    directories = os.environ.get("PATH", "").split(os.pathsep)
    return all(
        any(os.access(os.path.join(directory, command), os.X_OK) for directory in directories)
        for command in provides.split()
    )


def install(node: Node, op: dict[str, Any]) -> Outcome:
    """Install a package, unless its commands are there by now."""
    if has_commands(op["provides"]):
        return Outcome(UNCHANGED)
    package = op["name"]
    env = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "a"}
    node.run("dpkg", "--configure", "-a", timeout=120.0)  # an earlier run may have been killed half way
    argv = [*APT, "--no-install-recommends", "install", package]
    result = node.processes.run(argv, None, op["timeout"], env)
    if result.code:
        node.processes.run([*APT, "update"], None, op["timeout"], env)
        result = node.processes.run(argv, None, op["timeout"], env)
    if result.code or not has_commands(op["provides"]):
        raise FailureError(
            f"the package {package} (it provides {op['provides']}) is missing and cannot be installed",
            result.evidence(),
            f"does the node reach its package mirror? If not, put {package} on it: apt-get install {package}",
        )
    return Outcome(CREATED, "absent", op["provides"])


def references(node: Node) -> Optional[set[str]]:  # noqa: UP045 - Python 3.9 runs it on the node
    """Return the names of the images that containerd has; None if it does not answer."""
    if not has_commands("ctr") or not os.path.exists(node.places.containerd):
        return None
    result = node.run(*CTR, "ls", "--quiet", timeout=20.0)
    return set(result.out.split()) if result.code == 0 else None


def import_image(node: Node, op: dict[str, Any]) -> Outcome:
    """Import the next payload, an OCI archive, and see that the image is there; it may be, and did not show before."""
    reference = op["reference"]
    before = reference in (references(node) or ())
    if before and node.images.get(reference) == op["sha256"]:
        node.session.drop_payload()
        return Outcome(UNCHANGED)
    os.makedirs(node.places.home, mode=0o700, exist_ok=True)
    archive = os.path.join(node.places.home, f"image-{os.getpid()}.tar")
    try:
        receive(node, archive, op["encoding"], op["sha256"])
        node.must(
            [*CTR, "import", "--local", archive], f"containerd does not take the image {reference}", op["timeout"]
        )
        if room(archive):
            op["port"] = node.shelf.put(archive, op["sha256"])
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(archive)
    if reference not in (references(node) or ()):
        raise FailureError(f"the archive was imported and there is no image {reference}")
    node.images.put(reference, op["sha256"])
    return Outcome(UPDATED if before else CREATED, "present" if before else "absent", f"sha256:{op['sha256'][:12]}")
