from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Literal

import paramiko
import pytest
from nornir import InitNornir
from nornir.core.filter import F

from khw.cluster.file import load, template
from khw.cluster.model import Cluster, Node
from khw.cluster.spec import Role, Spec, Ssh
from khw.cluster.workspace import Workspace
from khw.errors import UnreachableError
from khw.inventory import provider_for
from khw.inventory.logins import node_options
from khw.inventory.plugin import inventory_of, known_hosts
from khw.ssh.connection import KhwConnection

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Lab

FILE = """\
name: mine
provider: static
static:
  api_address: 192.0.2.100
  nodes:
    - {name: c, role: controller, address: 192.0.2.10, host_keys: [ssh-ed25519 AAAA]}
    - name: w
      role: worker
      address: 192.0.2.20
      port: 2222
      pod_cidr: 10.200.0.0/24
      host_keys: [ssh-ed25519 AAAA]
"""

PROJECT = "khw-unit"
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
KEY_LINE = f"ssh-ed25519 {KEY}"


def a_node(name: str, role: Role = Role.WORKER, port: int = 22, host: str = "192.0.2.9") -> Node:
    return Node(
        name=name,
        role=role,
        internal_ip="10.240.0.20",
        external_ip=host,
        pod_cidr="10.200.0.0/24",
        zone="us-west1-c",
        ssh_host=host,
        ssh_port=port,
        host_keys=(f"ssh-ed25519 {KEY}",),
    )


def test_a_nornir_script_that_knows_only_the_plugins_name_gets_the_hosts(tmp_path: Path) -> None:
    (tmp_path / "khw.yaml").write_text(FILE)
    nornir = InitNornir(
        inventory={"plugin": "khw", "options": {"cluster_file": str(tmp_path / "khw.yaml")}},
        logging={"enabled": False},
    )
    assert list(nornir.inventory.hosts) == ["c", "w"]
    assert list(nornir.filter(F(groups__contains="worker")).inventory.hosts) == ["w"]
    assert list(nornir.filter(F(has_parent_group="controller")).inventory.hosts) == ["c"]
    host = nornir.inventory.hosts["w"]
    assert (host.hostname, host.port, host.username) == ("192.0.2.20", 2222, "khw")
    assert host["internal_ip"] == "192.0.2.20"
    assert host["pod_cidr"] == "10.200.0.0/24"


def test_a_cluster_in_a_project_is_an_inventory_too(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "khw.yaml"
    file.write_text(template(project=PROJECT, endpoint=lab.endpoint, name="unit"))
    provider_for(load(file), KEY_LINE).ensure_compute()
    nornir = InitNornir(inventory={"plugin": "khw", "options": {"cluster_file": str(file)}}, logging={"enabled": False})
    assert sorted(nornir.filter(F(groups__contains="worker")).inventory.hosts) == ["worker-0", "worker-1", "worker-2"]
    host = nornir.inventory.hosts["worker-2"]
    assert host.hostname == host["external_ip"] == lab.backend.specs["worker-2"].external_ip
    assert (host["pod_cidr"], host["zone"]) == ("10.200.2.0/24", "us-west1-c")
    known = (tmp_path / ".khw" / "unit" / "known_hosts").read_text()
    assert f"{host.hostname} ssh-ed25519 " in known


def test_netmiko_gets_the_clusters_key_and_trusts_only_the_published_host_keys(tmp_path: Path) -> None:
    cluster = Cluster(spec=Spec(), nodes=(a_node("w"),), api_address="192.0.2.1")
    workspace = Workspace(tmp_path)
    host = inventory_of(cluster, workspace).hosts["w"]
    parameters = host.get_connection_parameters("netmiko")
    assert parameters.platform == "terminal_server"
    assert parameters.hostname == "192.0.2.9"
    assert parameters.extras
    assert parameters.extras["ssh_strict"] is True
    assert parameters.extras["alt_key_file"] == str(tmp_path / "known_hosts")
    assert parameters.extras["key_file"] == str(tmp_path / "ssh_key")
    assert (tmp_path / "known_hosts").stat().st_mode & 0o777 == 0o600


def test_known_hosts_are_read_by_paramiko(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(known_hosts([a_node("a"), a_node("b", port=2222), a_node("gone", host="")]))
    keys = paramiko.HostKeys(str(path))
    assert sorted(keys) == ["192.0.2.9", "[192.0.2.9]:2222"]
    assert keys["192.0.2.9"]["ssh-ed25519"].get_base64() == KEY


def test_the_reason_why_a_host_is_unreachable_is_in_its_data(tmp_path: Path) -> None:
    node = Node(name="w", role=Role.WORKER, internal_ip="10.240.0.20", unreachable="its instance is TERMINATED")
    cluster = Cluster(spec=Spec(), nodes=(node,), api_address="192.0.2.1")
    assert inventory_of(cluster, Workspace(tmp_path)).hosts["w"]["unreachable"] == "its instance is TERMINATED"


def test_connecting_to_such_a_host_says_that_reason_at_once(tmp_path: Path) -> None:
    node = Node(name="w", role=Role.WORKER, internal_ip="10.240.0.20", unreachable="its instance is TERMINATED")
    cluster = Cluster(spec=Spec(), nodes=(node,), api_address="192.0.2.1")
    parameters = inventory_of(cluster, Workspace(tmp_path)).hosts["w"].get_connection_parameters("khw_agent")
    with pytest.raises(UnreachableError, match="w: its instance is TERMINATED"):
        KhwConnection().open(parameters.hostname, "khw", None, 22, parameters.platform, parameters.extras)


def test_the_plugin_does_not_load_the_cloud_client_until_it_is_needed() -> None:
    code = "import sys, khw.inventory.plugin; sys.exit('google.cloud.compute_v1' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_plan_keeps_host_keys_in_memory_and_writes_none(tmp_path: Path) -> None:
    cluster = Cluster(spec=Spec(), nodes=(a_node("w"),), api_address="192.0.2.1")
    workspace = Workspace(tmp_path / "new")
    inventory = inventory_of(cluster, workspace, check=True)
    extras = inventory.hosts["w"].get_connection_parameters("netmiko").extras
    assert extras
    assert paramiko.HostKeys(extras["alt_key_file"])["192.0.2.9"]["ssh-ed25519"].get_base64() == KEY
    assert os.path.isfile(extras["alt_key_file"]), "netmiko asks"  # noqa: PTH113 - as netmiko does
    assert not (tmp_path / "new").exists()


def test_a_plan_uses_the_file_where_it_is_right(tmp_path: Path) -> None:
    cluster = Cluster(spec=Spec(), nodes=(a_node("w"),), api_address="192.0.2.1")
    inventory_of(cluster, Workspace(tmp_path))
    before = (tmp_path / "known_hosts").stat().st_mtime_ns
    extras = (
        inventory_of(cluster, Workspace(tmp_path), check=True).hosts["w"].get_connection_parameters("netmiko").extras
    )
    assert extras
    assert extras["alt_key_file"] == str(tmp_path / "known_hosts")
    assert (tmp_path / "known_hosts").stat().st_mtime_ns == before


@pytest.mark.parametrize("sudo", ["free", "password"])
def test_what_a_login_takes_does_not_grow_with_the_cluster(sudo: Literal["free", "password"]) -> None:
    """It goes with every host to another process: a thousand hosts that each had all of a thousand were a gigabyte."""
    sizes = set()
    for workers in (1, 200):
        names = tuple(f"worker-{number}" for number in range(workers))
        spec = Spec(ssh=Ssh(sudo=sudo), workers=Spec().workers.model_copy(update={"names": names}))
        sizes.add(len(pickle.dumps(node_options(spec, a_node("worker-0"), {}))))
    assert len(sizes) == 1
