from __future__ import annotations

import pytest
from fakes import cluster

from khw.certs.identities import BOTH, CLIENT, SERVER, identities
from khw.cluster.spec import Network, Spec

TABLE = {identity.name: identity for identity in identities(cluster())}


@pytest.mark.parametrize(
    ("name", "authority", "common_name", "organization", "usages"),
    [
        ("admin", "kubernetes", "admin", "system:masters", CLIENT),
        ("kubelet-worker-1", "kubernetes", "system:node:worker-1", "system:nodes", BOTH),
        (
            "kube-controller-manager",
            "kubernetes",
            "system:kube-controller-manager",
            "system:kube-controller-manager",
            CLIENT,
        ),
        ("kube-scheduler", "kubernetes", "system:kube-scheduler", "system:kube-scheduler", CLIENT),
        ("kube-scheduler-serving", "kubernetes", "system:kube-scheduler", "system:kube-scheduler", SERVER),
        ("kube-proxy", "kubernetes", "system:kube-proxy", "system:node-proxier", CLIENT),
        ("kubernetes", "kubernetes", "kubernetes", "Kubernetes", SERVER),
        ("apiserver-kubelet-client", "kubernetes", "kubernetes", "Kubernetes", CLIENT),
        ("service-accounts", "kubernetes", "service-accounts", "Kubernetes", ()),
        ("etcd-controller-2", "etcd", "kubernetes", "Kubernetes", BOTH),
        ("apiserver-etcd-client", "etcd", "kube-apiserver-etcd-client", "Kubernetes", CLIENT),
        ("front-proxy-client", "front-proxy", "front-proxy-client", "Kubernetes", CLIENT),
    ],
)
def test_each_identity_is_who_the_guide_says_with_the_fewest_usages(
    name: str, authority: str, common_name: str, organization: str, usages: tuple[str, ...]
) -> None:
    identity = TABLE[name]
    assert (identity.authority, identity.common_name, identity.organization) == (
        authority,
        common_name,
        organization,
    )
    assert identity.usages == usages


def test_the_table_holds_no_one_else() -> None:
    per_node = {f"kubelet-worker-{i}" for i in range(3)} | {f"etcd-controller-{i}" for i in range(3)}
    assert set(TABLE) - per_node == {
        "admin",
        "kube-controller-manager",
        "kube-controller-manager-serving",
        "kube-scheduler",
        "kube-scheduler-serving",
        "kube-proxy",
        "kubernetes",
        "apiserver-kubelet-client",
        "service-accounts",
        "apiserver-etcd-client",
        "front-proxy-client",
    }


def test_the_api_server_is_known_by_every_name_and_address_that_it_is_reached_at() -> None:
    api_server = TABLE["kubernetes"]
    assert api_server.names == (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster",
        "kubernetes.default.svc.cluster.local",
    )
    assert set(api_server.addresses) == {
        "10.32.0.1",
        *(f"10.240.0.1{i}" for i in range(3)),
        *(f"198.51.100.1{i}" for i in range(3)),
        "198.51.100.100",
        "127.0.0.1",
    }


def test_the_api_servers_names_follow_the_cluster_file() -> None:
    spec = Spec(network=Network(dns_domain="example.internal"))
    table = {i.name: i for i in identities(cluster(spec, api_address="api.example.com"))}
    assert "kubernetes.default.svc.example.internal" in table["kubernetes"].names
    assert "api.example.com" in table["kubernetes"].names
    assert "api.example.com" not in table["kubernetes"].addresses


@pytest.mark.parametrize(
    ("name", "dns", "addresses"),
    [
        ("kubelet-worker-0", ("worker-0",), ("10.240.0.20", "198.51.100.20", "127.0.0.1")),
        ("etcd-controller-0", ("controller-0",), ("10.240.0.10", "198.51.100.10", "127.0.0.1")),
        ("kube-controller-manager-serving", ("kube-controller-manager",), ("127.0.0.1",)),
        ("kube-scheduler-serving", ("kube-scheduler",), ("127.0.0.1",)),
    ],
)
def test_servers_are_known_by_name_and_address(name: str, dns: tuple[str, ...], addresses: tuple[str, ...]) -> None:
    assert (TABLE[name].names, TABLE[name].addresses) == (dns, addresses)


def test_who_is_no_server_has_no_names() -> None:
    for identity in TABLE.values():
        assert bool(identity.names) == ("server" in identity.usages), identity.name
