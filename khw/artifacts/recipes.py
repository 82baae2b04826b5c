"""
How each artifact is built from its project's published Go modules.

A recipe names a folder below `modules/` (go.mod and go.sum pin every module by digest, tools.go names what is built)
and a package in it. The flags are the projects' own, less what needs their repository (docs/decisions/0013).
"""

from __future__ import annotations

from dataclasses import dataclass

KUBERNETES = "v1.37.2"
CONTAINERD = "v2.3.7"
CNI_PLUGINS = "v1.9.1"

_COMPONENT = "k8s.io/component-base/version"
_CLIENT = "k8s.io/client-go/pkg/version"
_MAJOR, _MINOR = KUBERNETES.removeprefix("v").split(".")[:2]
_KUBERNETES_FLAGS = " ".join(
    (
        "-s -w",
        f"-X {_COMPONENT}.gitVersion={KUBERNETES}",
        f"-X {_COMPONENT}.gitMajor={_MAJOR}",
        f"-X {_COMPONENT}.gitMinor={_MINOR}",
        f"-X {_COMPONENT}.gitTreeState=clean",
        f"-X {_CLIENT}.gitVersion={KUBERNETES}",
        f"-X {_CLIENT}.gitMajor={_MAJOR}",
        f"-X {_CLIENT}.gitMinor={_MINOR}",
    )
)
_CONTAINERD = "github.com/containerd/containerd/v2"
_CONTAINERD_FLAGS = (
    f"-s -w -X {_CONTAINERD}/version.Version={CONTAINERD} -X {_CONTAINERD}/version.Package={_CONTAINERD}"
)
_CNI = "github.com/containernetworking/plugins"
_CNI_FLAGS = f"-s -w -X {_CNI}/pkg/utils/buildversion.BuildVersion={CNI_PLUGINS}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One Go program: the folder of its go.mod, its package, and what the linker is told."""

    folder: str
    package: str
    flags: str = "-s -w"
    tags: str = ""
    cgo: bool = False


def kubernetes(package: str) -> Recipe:
    """Return how a program of Kubernetes itself is built."""
    return Recipe(folder="kubernetes", package=f"k8s.io/kubernetes/{package}", flags=_KUBERNETES_FLAGS)


def _etcd(package: str) -> Recipe:
    return Recipe(folder="etcd", package=f"go.etcd.io/etcd/{package}/v3")


def _containerd(package: str) -> Recipe:
    return Recipe(folder="containerd", package=f"{_CONTAINERD}/cmd/{package}", flags=_CONTAINERD_FLAGS)


def _cni(package: str) -> Recipe:
    return Recipe(folder="cni", package=f"{_CNI}/plugins/{package}", flags=_CNI_FLAGS)


RECIPES: dict[str, Recipe] = {
    "kube-apiserver": kubernetes("cmd/kube-apiserver"),
    "kube-controller-manager": kubernetes("cmd/kube-controller-manager"),
    "kube-scheduler": kubernetes("cmd/kube-scheduler"),
    "kubelet": kubernetes("cmd/kubelet"),
    "kube-proxy": kubernetes("cmd/kube-proxy"),
    "kubectl": kubernetes("cmd/kubectl"),
    "etcd": _etcd("server"),
    "etcdctl": _etcd("etcdctl"),
    "etcdutl": _etcd("etcdutl"),
    "containerd": _containerd("containerd"),
    "containerd-shim-runc-v2": _containerd("containerd-shim-runc-v2"),
    "ctr": _containerd("ctr"),
    # Without seccomp every pod that asks for the default profile fails; it needs libseccomp, and so cgo.
    "runc": Recipe(
        folder="runc",
        package="github.com/opencontainers/runc",
        flags="-s -w -linkmode external -extldflags -static",
        tags="osusergo netgo seccomp",
        cgo=True,
    ),
    "cni-bridge": _cni("main/bridge"),
    "cni-loopback": _cni("main/loopback"),
    "cni-host-local": _cni("ipam/host-local"),
    "cni-portmap": _cni("meta/portmap"),
    "cni-firewall": _cni("meta/firewall"),
    "image-coredns": Recipe(folder="coredns", package="."),
    "image-agnhost": kubernetes("test/images/agnhost"),
}
