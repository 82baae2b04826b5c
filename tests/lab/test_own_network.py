"""What chapters 8 and 11 put on machines of one's own: haproxy and keepalived by apt, routes to pods (make sizes)."""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from commandline import LAB
from rack import SHARED, Rack, rack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.lab, pytest.mark.apart, pytest.mark.timeout(900)]

CONTROLLERS = ("controller-0", "controller-1")
PACKAGES = ("haproxy", "keepalived")
MOVES_SECONDS = 60


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """Two controllers (etcd is not on them), one machine for etcd, one worker: made by the tests, in their order."""
    with rack(f"{LAB}-own", tmp_path_factory.mktemp("own"), 2, 1, etcd=1, balancer="haproxy") as khw:
        yield khw


def installed(khw: Rack, node: str) -> list[str]:
    """Which of the packages dpkg knows there, and how: 'haproxy installed'."""
    asked = ("dpkg-query", "--show", "--showformat='${Package} ${db:Status-Status}\\n'", *PACKAGES)
    return khw("ssh", node, *asked).stdout.splitlines()


def has_address(khw: Rack) -> list[str]:
    return [node for node in CONTROLLERS if f" {SHARED}/32 " in khw.on(node, "ip", "address")]


def has_it_in_time(khw: Rack, node: str) -> None:
    """Whether the API's address comes to this controller alone, and the API answers there."""
    deadline = time.monotonic() + MOVES_SECONDS
    while has_address(khw) != [node]:
        assert time.monotonic() < deadline, f"the address is on {has_address(khw)}, not on {node}"
    assert khw.kubectl("get", "--raw", "/readyz", "--request-timeout=5s") == "ok"


def causes(khw: Rack, *checks: str) -> dict[str, list[str]]:
    """What `khw verify` says is behind what fails: cause and nodes."""
    said = json.loads(khw("verify", "-o", "json", *checks).stdout)
    return {cause["id"]: sorted(cause["nodes"]) for cause in said["causes"]}


def test_while_the_package_mirror_is_away_it_is_said_what_is_missing(bare: Rack) -> None:
    assert installed(bare, "controller-0") == []
    bare.on("controller-1", "sudo", "mv", "/srv/mirror", "/srv/away")
    failed = bare("run")
    bare.on("controller-1", "sudo", "mv", "/srv/away", "/srv/mirror")
    assert failed.returncode == 3, failed.stderr
    assert "the package haproxy (it provides haproxy) is missing and cannot be installed" in failed.stderr
    assert "does the node reach its package mirror? If not, put haproxy on it" in failed.stderr


def test_haproxy_and_keepalived_come_from_the_package_mirror(bare: Rack) -> None:
    """Also where a configuration is there before the package, about which dpkg would ask."""
    bare.on("controller-1", "sudo mkdir -p /etc/haproxy && echo global | sudo tee /etc/haproxy/haproxy.cfg")
    bare.ok("run", "--failed")
    bare.ok("verify", "--wait", "60")
    assert bare.json("run")["changed"] == 0
    for node in CONTROLLERS:
        assert installed(bare, node) == [f"{package} installed" for package in PACKAGES]
    assert [node for node in ("etcd-0", "worker-0") if installed(bare, node)] == []


@pytest.mark.parametrize("unit", ["haproxy.service", "keepalived.service"])
def test_the_address_moves_when_its_controllers_unit_stops_and_a_run_mends_it(bare: Rack, unit: str) -> None:
    has_it_in_time(bare, "controller-0")
    bare.on("controller-0", "sudo", "systemctl", "stop", unit)
    has_it_in_time(bare, "controller-1")
    # kubelets and kube-proxies that were connected see it a ping later (30 s): what goes through them is not asked now
    assert causes(bare, "unit", "load-balancer") == {f"unit:{unit}": ["controller-0"]}
    assert bare.json("run", "--limit", "controller-0")["changed"] == 1
    has_it_in_time(bare, "controller-0")
    bare.ok("verify", "--wait", "60")


def test_a_route_that_was_deleted_is_named_and_comes_back_with_a_run(bare: Rack) -> None:
    assert [row["state"] for row in bare.json("routes")] == ["ok"] * 3, "one on each machine but the worker itself"
    bare.on("controller-1", "sudo", "ip", "route", "del", "10.200.0.0/24", "proto", "211")
    bare.on("etcd-0", "sudo", "ip", "route", "add", "10.200.9.0/24", "via", "10.240.0.20", "proto", "211")
    assert {row["node"]: (row["dest_range"], row["state"]) for row in bare.json("routes") if row["state"] != "ok"} == {
        "controller-1": ("10.200.0.0/24", "missing"),
        "etcd-0": ("10.200.9.0/24", "extra"),
    }
    verdict = json.loads(bare("verify", "-o", "json", "route").stdout)
    assert [(row["node"], row["actual"]) for row in verdict["checks"] if row["status"] == "failed"] == [
        ("controller-1", "missing: 10.200.0.0/24 by 10.240.0.20"),
        ("etcd-0", "extra: 10.200.9.0/24 by 10.240.0.20"),
    ]
    assert causes(bare, "route") == {"route": ["controller-1", "etcd-0"]}
    assert bare.json("run", "--phase", "routes")["changed"] == 2
    bare.ok("verify", "route")
    assert bare.json("run", "--phase", "routes")["changed"] == 0


def test_a_copy_of_khw_yaml_alone_takes_no_machine_of_the_living_cluster(bare: Rack, tmp_path: Path) -> None:
    for name in ("khw.yaml", "id"):
        shutil.copy(bare.folder / name, tmp_path)
    stranger = replace(bare, folder=tmp_path)
    for said in (stranger("plan"), stranger("run")):
        assert said.returncode == 3, said.stderr
        refused = r"^(\S+): certificates: the machine is part of another cluster, whose keys are not in this folder"
        assert sorted(re.findall(refused, said.stderr, re.MULTILINE)) == [*CONTROLLERS, "etcd-0", "worker-0"]
        assert "another authority's: /etc/etcd/ca.pem" in said.stderr
    assert bare.json("run")["changed"] == 0
