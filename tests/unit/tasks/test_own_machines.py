"""What only machines of one's own have: haproxy, keepalived, routes to pods; and machines that are several things."""

from __future__ import annotations

import os
import subprocess
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Literal

import pytest
from fakes import cluster

from khw.cluster.model import Cluster, Facts
from khw.cluster.spec import Role, Spec, Static, StaticNode
from khw.converge.resources import File, Package, Require, Unit
from khw.engine.phases import PHASES
from khw.flags.rendered import specimens
from khw.tasks import balancer, certificates, etcd, pod_routes, prerequisites

SHARED = "192.0.2.100"


def node(name: str, role: Any, last: int, pods: int | None = None) -> StaticNode:
    pod_cidr = None if pods is None else IPv4Network(f"10.200.{pods}.0/24")
    return StaticNode(name=name, role=role, address=IPv4Address(f"192.0.2.{last}"), pod_cidr=pod_cidr)


def own(
    *nodes: StaticNode, balanced: Literal["own", "haproxy"] = "own", routes: Literal["own", "nodes"] = "nodes"
) -> Cluster:
    spec = Spec(
        provider="static", static=Static(api_address=SHARED, balancer=balanced, routes=routes, nodes=tuple(nodes))
    )
    return cluster(spec, api_address=SHARED)


ALONE = own(node("all", Role.CONTROLLER, 10, pods=0))
THREE = own(
    *(node(f"c{i}", Role.CONTROLLER, 10 + i) for i in range(3)), node("w", Role.WORKER, 20, 0), balanced="haproxy"
)
APART = own(
    node("c", Role.CONTROLLER, 10), *(node(f"e{i}", Role.ETCD, 30 + i) for i in range(3)), node("w", Role.WORKER, 20, 0)
)


def phases(it: Cluster, name: str) -> set[str]:
    return {phase.name for phase in PHASES if phase.on(it.node(name))}


def test_a_controller_with_a_pod_cidr_is_all_that_there_is() -> None:
    only = ALONE.node("all")
    assert only.titles == (Role.CONTROLLER, Role.WORKER)
    assert ALONE.controllers == ALONE.workers == ALONE.etcd_members == (only,)
    assert phases(ALONE, "all") >= {"etcd", "control-plane", "runtime", "workers", "routes"}


def test_on_such_a_machine_nothing_is_asked_for_twice_in_a_phase() -> None:
    for phase in PHASES:
        if phase.task and phase.on(ALONE.node("all")):
            ids = [resource.id for resource in phase.task(ALONE.node("all"), ALONE, specimens(ALONE))]
            assert sorted(ids) == sorted(set(ids)), phase.name


def test_its_ports_are_those_of_all_its_roles() -> None:
    wanted = prerequisites.ports(ALONE.node("all"), ALONE)
    assert {2379, 6443, 10250} <= set(wanted)
    assert 10250 not in prerequisites.ports(THREE.node("c0"), THREE)
    assert prerequisites.ports(THREE.node("c0"), THREE)[8443] == "haproxy.service"
    assert 8443 not in prerequisites.ports(THREE.node("w"), THREE)


def test_etcd_on_machines_of_its_own_is_on_no_controller() -> None:
    assert [member.name for member in APART.etcd_members] == ["e0", "e1", "e2"]
    assert phases(APART, "c") & {"etcd", "control-plane"} == {"control-plane"}
    assert phases(APART, "e0") & {"etcd", "control-plane", "workers"} == {"etcd"}
    unit = etcd.unit(APART.node("e0"), APART)
    assert "e1=https://192.0.2.31:2380" in unit
    assert "192.0.2.10" not in unit


def test_such_a_machine_gets_no_authority_of_kubernetes() -> None:
    paths = {
        name: {r.path for r in certificates.resources(APART.node(name), APART, specimens(APART)) if isinstance(r, File)}
        for name in ("e0", "c")
    }
    assert paths["e0"] == {"/etc/etcd/ca.pem", "/etc/etcd/kubernetes.pem", "/etc/etcd/kubernetes-key.pem"}
    controller = {
        r.path for r in certificates.resources(APART.node("c"), APART, specimens(APART)) if isinstance(r, File)
    }
    assert "/etc/etcd/kubernetes-key.pem" not in controller
    assert "/var/lib/kubernetes/apiserver-etcd-client-key.pem" in controller


def test_each_machine_has_routes_to_the_pods_of_all_others() -> None:
    two = own(node("c", Role.CONTROLLER, 10), node("v", Role.WORKER, 20, 0), node("w", Role.WORKER, 21, 1))
    assert pod_routes.table(two.node("c"), two).splitlines() == [
        "route replace 10.200.0.0/24 via 192.0.2.20 proto 211",
        "route replace 10.200.1.0/24 via 192.0.2.21 proto 211",
    ]
    assert pod_routes.table(two.node("v"), two).splitlines() == ["route replace 10.200.1.0/24 via 192.0.2.21 proto 211"]


def test_the_routes_come_back_at_boot_and_with_the_network() -> None:
    rows = {r.id: r for r in pod_routes.resources(ALONE.node("all"), ALONE, specimens(ALONE))}
    unit = rows["unit:pod-routes.service"]
    assert isinstance(unit, Unit)
    assert unit.enabled
    assert unit.inputs == ("/etc/kubernetes/pod-routes",)
    for line in ("WantedBy=multi-user.target", "PartOf=systemd-networkd.service", "RemainAfterExit=yes"):
        assert line in unit.content


def test_with_routes_of_their_own_and_in_a_cloud_nodes_have_no_part_in_them() -> None:
    mine = own(node("c", Role.CONTROLLER, 10, 0), routes="own")
    assert phases(mine, "c") & {"routes", "load-balancer"} == set()
    assert phases(cluster(), "controller-0") & {"routes", "load-balancer"} == set()


def test_haproxy_has_every_api_server_behind_a_port_of_its_own() -> None:
    text = balancer.haproxy(THREE)
    assert "bind *:8443" in text
    for index in range(3):
        assert f"server c{index} 192.0.2.{10 + index}:6443 check check-ssl verify none" in text
    assert THREE.api_url == f"https://{SHARED}:8443"


def test_one_controller_at_a_time_has_the_address_by_priority() -> None:
    texts = [balancer.keepalived(each, THREE) for each in THREE.controllers]
    assert [next(line.split()[1] for line in text.splitlines() if "priority" in line) for text in texts] == [
        "150",
        "149",
        "148",
    ]
    assert all(f"{SHARED}/32" in text and "state BACKUP" in text for text in texts)
    assert "unicast_src_ip 192.0.2.10" in texts[0]
    assert "192.0.2.11\n        192.0.2.12" in texts[0]


def test_the_address_is_on_the_interface_that_has_the_nodes_own() -> None:
    found = THREE.node("c1").with_facts(Facts(interfaces=(("lo", "127.0.0.1"), ("ens3", "192.0.2.11"))))
    assert "interface ens3" in balancer.keepalived(found, THREE)


def test_two_addresses_in_one_network_have_router_ids_of_their_own() -> None:
    other = Cluster(THREE.spec, THREE.nodes, "192.0.2.101")
    assert 1 <= balancer.router_id(THREE) <= 255
    assert balancer.router_id(THREE) != balancer.router_id(other)


def test_the_packages_come_before_the_units_that_run_them() -> None:
    rows = list(balancer.resources(THREE.node("c0"), THREE, specimens(THREE)))
    kinds = [type(row) for row in rows]
    assert kinds.index(Package) < kinds.index(Unit)


@pytest.mark.parametrize("it", [ALONE, THREE, APART])
def test_preflight_asks_for_ports_once(it: Cluster) -> None:
    for each in it.nodes:
        rows = [r for r in prerequisites.resources(each, it, specimens(it)) if isinstance(r, Require)]
        assert [r.name for r in rows].count("ports") == 1


def test_a_route_that_was_taken_away_by_hand_is_put_back(tmp_path: Path) -> None:
    tool = tmp_path / "ip"
    table = tmp_path / "table"
    table.write_text("route replace 10.200.1.0/24 via 192.0.2.21 proto 211\n")
    script = pod_routes.THERE.replace(pod_routes.TABLE, str(table))
    seen = {}
    for said in ("10.200.1.0/24 via 192.0.2.21 dev eth0 \\n", "", "10.200.1.0/24 via 192.0.2.99 dev eth0 \\n"):
        tool.write_text(f"#!/bin/sh\nprintf '{said}'\n")
        tool.chmod(0o755)
        path = f"{tmp_path}:{os.environ['PATH']}"
        seen[said] = subprocess.run(["sh", "-c", script], env={"PATH": path}, check=False).returncode
    assert list(seen.values()) == [0, 1, 1]
