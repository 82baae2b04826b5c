"""The table of who talks to whom is held against what is really put on nodes: identities, files, flags."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, cast

import pytest
from fakes import cluster

from khw.certs.identities import LOOPBACK, Usage, identities
from khw.certs.pki import load_or_issue
from khw.cluster.edges import BALANCER, PODS, Edge, Proof, edges
from khw.cluster.spec import Role, Spec
from khw.converge.resources import File
from khw.engine.report import OPERATOR
from khw.tasks import certificates, kubeconfigs

if TYPE_CHECKING:
    from pathlib import Path

    from khw.cluster.model import Cluster

CLUSTER = cluster()
ALL = edges(CLUSTER)
WHO = {identity.name: identity for identity in identities(CLUSTER)}


def between(client: str, server: str) -> list[Edge]:
    return [edge for edge in ALL if (edge.client.component, edge.server.component) == (client, server)]


@pytest.mark.parametrize("edge", ALL, ids=lambda edge: edge.name)
def test_a_server_shows_a_certificate_that_is_its_own_and_names_the_address_that_is_asked(edge: Edge) -> None:
    shown = WHO[edge.server_identity]
    assert Usage.SERVER in shown.usages
    assert edge.server_authority in {shown.authority, ""}
    if edge.server_authority:
        assert edge.address in shown.addresses
    ip_address(edge.address)


@pytest.mark.parametrize("edge", ALL, ids=lambda edge: edge.name)
def test_a_client_shows_a_certificate_that_the_server_trusts_or_none_at_all(edge: Edge) -> None:
    if edge.proof is not Proof.CERTIFICATE:
        assert not edge.credential
        return
    shown = WHO[edge.client_identity]
    assert Usage.CLIENT in shown.usages
    assert shown.authority == edge.client_authority


def test_what_a_client_shows_lies_where_the_edge_says_on_the_clients_node(tmp_path: Path) -> None:
    pki = load_or_issue(tmp_path / "pki", CLUSTER)
    contents: dict[tuple[str, str], Any] = {
        (node.name, resource.path): resource
        for node in CLUSTER.nodes
        for task in (certificates, kubeconfigs)
        for resource in task.resources(node, CLUSTER, pki)
        if isinstance(resource, File)
    }
    looked = 0
    for edge in ALL:
        if edge.client.host in {OPERATOR, BALANCER, PODS}:
            continue
        host, shown = edge.client.host, edge.credential
        assert shown
        assert contents[host, edge.ca].content == pki.authority(edge.server_authority).certificate
        if shown.kubeconfig:
            assert contents[host, shown.kubeconfig].mode == 0o600
        else:
            assert contents[host, shown.certificate].content == pki.pair(shown.identity).certificate
            assert contents[host, shown.key].content == pki.pair(shown.identity).key
        looked += 1
    assert looked > 30


def test_members_of_etcd_talk_in_both_directions_and_every_api_server_to_every_member() -> None:
    pairs = {(edge.client.host, edge.server.host) for edge in between("etcd", "etcd")}
    assert len(pairs) == 6
    assert all((b, a) in pairs for a, b in pairs)
    assert len(between("kube-apiserver", "etcd")) == 9
    assert len(between("kube-apiserver", "kubelet")) == 9


def test_workers_and_the_operator_reach_the_api_through_the_load_balancer() -> None:
    through = [edge for edge in ALL if edge.server.host == BALANCER]
    assert {edge.client.component for edge in through} == {"kubelet", "kube-proxy", "kubectl"}
    assert {edge.address for edge in through} == {CLUSTER.api_address}


def test_what_needs_no_other_machine_stays_on_loopback() -> None:
    ours = [edge for edge in ALL if edge.client.host == edge.server.host and edge.client.component != "kube-apiserver"]
    assert {edge.address for edge in ours} == {LOOPBACK}


def test_every_certificate_of_a_client_or_server_is_used_somewhere() -> None:
    used = {name for edge in ALL for name in (edge.server_identity, edge.client_identity)}
    # shown to extension API servers, of which none is there; signs tokens, and no connection
    assert set(WHO) - used == {"front-proxy-client", "service-accounts"}


def test_without_workers_the_controllers_have_kubelets() -> None:
    spec = Spec()
    alone = cast("Cluster", cluster(spec.model_copy(update={"workers": spec.workers.model_copy(update={"count": 0})})))
    assert all(node.role is Role.CONTROLLER for node in alone.nodes)
    reached = {edge.server.host for edge in edges(alone) if edge.server.component == "kubelet"}
    assert reached == {node.name for node in alone.controllers}
