from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from fakes import cluster
from ruamel.yaml import YAML

from khw.artifacts import lock
from khw.cluster.spec import Network, Spec
from khw.converge.resources import Manifest, Wait
from khw.tasks import dns

if TYPE_CHECKING:
    from khw.certs.pki import Pki

CLUSTER = cluster()


def objects(name: str = "cluster.local") -> dict[str, Any]:
    it = cluster(Spec(network=Network(dns_domain=name)))
    return {row["kind"]: row for row in YAML(typ="safe").load_all(dns.manifest(it))}


def test_all_objects_of_chapter_12_are_there() -> None:
    assert set(objects()) == {
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "Deployment",
        "Service",
    }


def test_the_service_has_the_address_that_kubelets_give_to_pods() -> None:
    spec = objects()["Service"]["spec"]
    assert spec["clusterIP"] == "10.32.0.10"
    assert {(port["port"], port["protocol"]) for port in spec["ports"]} == {(53, "UDP"), (53, "TCP"), (9153, "TCP")}


def test_two_replicas_of_the_image_that_was_pushed() -> None:
    deployment = objects()["Deployment"]["spec"]
    container = deployment["template"]["spec"]["containers"][0]
    assert deployment["replicas"] == 2
    assert container["image"] == lock.entry("image-coredns").reference
    assert container["imagePullPolicy"] == "IfNotPresent"


def test_the_corefile_serves_the_clusters_domain_and_forwards_the_rest() -> None:
    corefile = objects("example.internal")["ConfigMap"]["data"]["Corefile"]
    assert "kubernetes example.internal in-addr.arpa ip6.arpa {" in corefile
    assert "forward . /etc/resolv.conf" in corefile
    assert corefile.count("{") == corefile.count("}")


def test_the_phase_ends_with_the_wait_for_the_rollout() -> None:
    manifest, wait = dns.resources(CLUSTER.controllers[0], CLUSTER, cast("Pki", None))
    assert isinstance(manifest, Manifest)
    assert isinstance(wait, Wait)
    assert manifest.kubeconfig == "/var/lib/kubernetes/admin.kubeconfig"
