"""Clusters whose machines differ from each other: in their system, in where they stand (make sizes)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from commandline import KHW, LAB, Khw, instance, is_a_cluster
from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1
from project import project
from rack import rack
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Set
    from pathlib import Path

pytestmark = [pytest.mark.lab, pytest.mark.apart, pytest.mark.timeout(900)]

PROJECT = f"{LAB}-place"
FAMILY = "projects/debian-cloud/global/images/family/debian-{}"


def release(khw: Khw, node: str) -> str:
    """Which Debian a node is, as it says itself."""
    told = khw.on(node, "grep", "VERSION_ID", "/etc/os-release")
    return told.strip().partition("=")[2].strip('"')


def test_debian_12_and_13_in_one_cluster_of_a_project(tmp_path: Path) -> None:
    workers = {"count": 2, "images": [FAMILY.format(12), FAMILY.format(13)]}
    with project(PROJECT, tmp_path, controllers={"count": 1}, workers=workers) as khw:
        is_a_cluster(khw)
        assert [release(khw, node) for node in ("controller-0", "worker-0", "worker-1")] == ["12", "12", "13"]
        khw("ssh", "worker-1", "sudo", "reboot")  # its connection ends as it likes
        khw.ok("verify", "--wait", "120")
        assert khw.json("run")["changed"] == 0


def test_debian_12_and_13_in_one_cluster_of_machines_of_ones_own(tmp_path: Path) -> None:
    """The other way round: the control plane is on Debian 13."""
    with rack(f"{LAB}-rack", tmp_path, 1, 1, images={"controller-0": "debian-13"}) as khw:
        is_a_cluster(khw)
        assert [release(khw, node) for node in ("controller-0", "worker-0")] == ["13", "12"]


ZONES = ("us-west1-a", "us-west1-b", "us-west1-c")


def places(khw: Khw, role: str) -> dict[str, str]:
    return {row["name"]: row["zone"] for row in khw.json("inventory") if row["role"] == role}


def _client(khw: Khw, kind: Any) -> tuple[Any, str]:
    """A client of Google's own, and the project's name."""
    gcp = YAML(typ="safe").load((khw.folder / "khw.yaml").read_text())["gcp"]
    options = {"api_endpoint": gcp["endpoint"]}
    return kind(credentials=AnonymousCredentials(), client_options=options), gcp["project"]


def healthy(khw: Khw) -> Set[str]:
    """Where the load balancer finds a well API server: the zones' names."""
    client, project = _client(khw, compute_v1.RegionBackendServicesClient)
    where = {"project": project, "region": "us-west1", "backend_service": "kubernetes-the-hard-way-api"}
    found = set()
    for backend in client.get(**where).backends:
        resource = compute_v1.ResourceGroupReference(group=backend.group)
        for row in client.get_health(**where, resource_group_reference_resource=resource).health_status:
            if row.health_state == "HEALTHY":
                found.add(row.instance.split("/")[-3])
    return found


def in_zones(khw: Khw) -> list[str]:
    """What any zone still has of what khw makes in zones."""
    rows = []
    for kind, field in (
        (compute_v1.InstancesClient, "instances"),
        (compute_v1.DisksClient, "disks"),
        (compute_v1.InstanceGroupsClient, "instance_groups"),
    ):
        client, project = _client(khw, kind)
        rows += [
            f"{zone}: {row.name}"
            for zone, part in client.aggregated_list(project=project)
            for row in getattr(part, field)
        ]
    return rows


def test_controllers_over_three_zones_outlive_the_loss_of_one(tmp_path: Path) -> None:
    with project(PROJECT, tmp_path, gcp={"zones": list(ZONES)}) as khw:
        is_a_cluster(khw)
        assert tuple(places(khw, "controller").values()) == ZONES
        assert tuple(places(khw, "worker").values()) == ZONES
        assert healthy(khw) == set(ZONES)

        lost = [
            name for role in ("controller", "worker") for name, zone in places(khw, role).items() if zone == ZONES[0]
        ]
        for name in lost:
            instance(khw, name, "stop")
        khw.kubectl("create", "configmap", "written-without-a-zone")
        assert healthy(khw) == set(ZONES[1:])
        for name in lost:
            instance(khw, name, "start")
        assert khw.json("run")["ok"]
        khw.ok("verify", "--wait", "120")
        khw.kubectl("get", "configmap", "written-without-a-zone")

        told = khw.ok("destroy", "--check")
        assert "would stay: nothing" in told
        for zone in ZONES:
            assert sum(line.startswith("instance") and zone in line.split() for line in told.splitlines()) == 3, zone
        assert len(in_zones(khw)) == 6 + 6 + 3
        khw.ok("destroy", "--yes")
        assert in_zones(khw) == []


NETWORK = "kubernetes-the-hard-way"
MEMBERS = ("etcd-0", "etcd-1", "etcd-2")
NODES = ("controller-0", *MEMBERS, "worker-0")
BESIDE = (f"router:{NETWORK}-router", f"address:{NETWORK}-nat", f"instance:{NETWORK}-bastion")


# A Nornir script of somebody's own; in a process of its own, because paramiko's ProxyCommand leaves its pipes open.
SCRIPT = """
import json
from nornir import InitNornir
from nornir_netmiko import netmiko_send_command
nr = InitNornir(inventory={"plugin": "khw"}, logging={"enabled": False})
answers = nr.run(task=netmiko_send_command, command_string="hostname")
print(json.dumps({host: answer[0].result.split()[-1] for host, answer in answers.items()}))
nr.close_connections()
"""


def gets_out(khw: Khw) -> bool:
    """Whether a node reaches the API's address, which lets in nobody else than NAT's address and the operator."""
    api = YAML(typ="safe").load((khw.folder / khw.ok("kubeconfig").strip()).read_text())["clusters"][0]["cluster"]
    done = khw("ssh", "worker-0", "curl", "--insecure", "--silent", "--max-time", "5", f"{api['server']}/readyz")
    return done.stdout.strip() == "ok"


def test_private_nodes_are_reached_through_the_bastion_alone_and_get_out_by_nat(tmp_path: Path) -> None:
    sizes = {"controllers": {"count": 1}, "workers": {"count": 1}, "etcd": {"count": len(MEMBERS)}}
    with project(PROJECT, tmp_path, gcp={"private_nodes": True}, **sizes) as khw:
        planned = json.dumps(khw.json("plan"))
        assert all(one in planned for one in (*BESIDE, *(f"instance:{name}" for name in MEMBERS)))
        is_a_cluster(khw)
        assert {row["name"]: row["external_ip"] for row in khw.json("inventory")} == dict.fromkeys(NODES)
        assert {row["node"] for row in khw.json("verify")["checks"] if row["name"] == "etcd"} == set(MEMBERS)
        assert khw.on("worker-0", "hostname").strip() == "worker-0"
        told = subprocess.run(
            [KHW, "lab", "ssh", "--name", PROJECT, "worker-0", "hostname"], capture_output=True, text=True, check=True
        )
        assert told.stdout.strip() == "worker-0"
        another = khw("ssh", "worker-0", "timeout 3 bash -c '</dev/tcp/10.240.0.10/22'")
        assert another.returncode == 124, "a node's SSH answers another node"

        said = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert json.loads(said.stdout) == {name: name for name in NODES}

        assert gets_out(khw)
        routers, name = _client(khw, compute_v1.RoutersClient)
        where = {"project": name, "region": "us-west1"}
        gone = routers.delete_unary(**where, router=f"{NETWORK}-router")
        operations, _ = _client(khw, compute_v1.RegionOperationsClient)
        operations.wait(**where, operation=gone.name)
        assert not gets_out(khw)
        assert khw.json("run", "--phase", "compute")["changed"] == 1
        assert gets_out(khw)

        told_by_check = khw.ok("destroy", "--check")
        assert all(one in told_by_check for one in (*BESIDE, *MEMBERS))
        khw.ok("destroy", "--yes")
        assert list(routers.list(**where)) == []
        assert in_zones(khw) == []
