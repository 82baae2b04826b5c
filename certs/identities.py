"""
Who is who (chapter 4), as one table: `AUTHORITIES` and `identities(cluster)`.

To Kubernetes the common name is the user and the organization is the group. Each identity has a key of its
own, and only the usages that it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING

from khw.cluster.model import NOT_KNOWN_YET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from khw.cluster.model import Cluster, Node

LOOPBACK = "127.0.0.1"


class Usage(StrEnum):
    """What a certificate may be shown as."""

    SERVER = "server"
    CLIENT = "client"


SERVER = (Usage.SERVER,)
CLIENT = (Usage.CLIENT,)
BOTH = (Usage.SERVER, Usage.CLIENT)


@dataclass(frozen=True, slots=True)
class Authority:
    """Whom certificates are trusted from."""

    name: str
    common_name: str
    organization: str


@dataclass(frozen=True, slots=True)
class Identity:
    """
    A row of chapter 4's table; `name` is what its files are called and what `Pki.pair` takes.

    `lasting`: its key is kept when its certificate is issued again, because what it signed lives on.
    """

    name: str
    authority: str
    common_name: str
    organization: str
    usages: tuple[Usage, ...]
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    lasting: bool = False


AUTHORITIES = (
    Authority("kubernetes", "Kubernetes", "Kubernetes"),
    Authority("etcd", "etcd", "Kubernetes"),
    Authority("front-proxy", "front-proxy", "Kubernetes"),
)

COMPONENTS = ("kube-controller-manager", "kube-scheduler")


def identities(cluster: Cluster) -> tuple[Identity, ...]:
    """Return everyone who needs a key in this cluster."""
    return (
        Identity("admin", "kubernetes", "admin", "system:masters", CLIENT),
        *_kubelets(cluster),
        *_components(),
        Identity("kube-proxy", "kubernetes", "system:kube-proxy", "system:node-proxier", CLIENT),
        _api_server(cluster),
        Identity("apiserver-kubelet-client", "kubernetes", "kubernetes", "Kubernetes", CLIENT),
        Identity("service-accounts", "kubernetes", "service-accounts", "Kubernetes", (), lasting=True),
        *_etcd_members(cluster),
        Identity("apiserver-etcd-client", "etcd", "kube-apiserver-etcd-client", "Kubernetes", CLIENT),
        Identity("front-proxy-client", "front-proxy", "front-proxy-client", "Kubernetes", CLIENT),
    )


def _kubelets(cluster: Cluster) -> Iterator[Identity]:
    for node in cluster.workers:
        user = f"system:node:{node.name}"
        addresses = (*_addresses(node), LOOPBACK)
        yield Identity(f"kubelet-{node.name}", "kubernetes", user, "system:nodes", BOTH, (node.name,), addresses)


def _components() -> Iterator[Identity]:
    for component in COMPONENTS:
        user = f"system:{component}"
        yield Identity(component, "kubernetes", user, user, CLIENT)
        yield Identity(f"{component}-serving", "kubernetes", user, user, SERVER, (component,), (LOOPBACK,))


def _api_server(cluster: Cluster) -> Identity:
    labels = f"kubernetes.default.svc.{cluster.network.dns_domain}".split(".")
    names = [".".join(labels[:count]) for count in range(1, len(labels) + 1)]
    addresses = [str(cluster.network.service_address)]
    addresses += [address for node in cluster.controllers for address in _addresses(node)]
    if cluster.api_address != NOT_KNOWN_YET:
        (addresses if _is_address(cluster.api_address) else names).append(cluster.api_address)
    return Identity(
        "kubernetes",
        "kubernetes",
        "kubernetes",
        "Kubernetes",
        SERVER,
        _unique(*names),
        _unique(*addresses, LOOPBACK),
    )


def _etcd_members(cluster: Cluster) -> Iterator[Identity]:
    for node in cluster.etcd_members:
        addresses = (*_addresses(node), LOOPBACK)
        yield Identity(f"etcd-{node.name}", "etcd", "kubernetes", "Kubernetes", BOTH, (node.name,), addresses)


def _addresses(node: Node) -> tuple[str, ...]:
    return _unique(node.internal_ip, *((node.external_ip,) if node.external_ip else ()))


def _unique(*values: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
