"""Nodes without external addresses: what there is beside them, who may reach whom, and how khw gets in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import paramiko
import pytest

from khw.checks import Status
from khw.cluster.rules import findings
from khw.cluster.spec import Gcp, Network, Pool
from khw.cluster.workspace import Workspace
from khw.errors import DiffersError
from khw.inventory.gcp import rights as gcp_rights
from khw.inventory.gcp.cost import estimate
from khw.inventory.gcp.destroy import names_of
from khw.inventory.gcp.kinds import ADDRESS, FIREWALL, INSTANCE, ROUTER
from khw.inventory.gcp.machine import CLUSTER_LABEL
from khw.inventory.logins import node_options
from khw.inventory.plugin import inventory_of, known_hosts

from ..conftest import KEY
from .test_provider import act, changed

if TYPE_CHECKING:
    from pathlib import Path

    from khw.inventory.gcp.provider import GcpProvider

    from ..conftest import Lab

NAME = "kubernetes-the-hard-way"
BASTION = f"{NAME}-bastion"


def private(lab: Lab, **changes: object) -> GcpProvider:
    gcp = Gcp(project="khw-unit", endpoint=lab.endpoint, credentials="anonymous", private_nodes=True)
    return lab.provider(gcp=gcp, **changes)


def test_the_bastion_is_the_only_machine_with_an_external_address(lab: Lab) -> None:
    lab.made(private(lab))
    assert {name for name, spec in lab.backend.specs.items() if spec.external_ip} == {BASTION}
    bastion = lab.backend.specs[BASTION]
    assert (bastion.machine_type, bastion.internal_ip, bastion.can_ip_forward) == ("e2-micro", "10.240.0.253", False)
    assert "pod-cidr" not in bastion.metadata
    assert lab.api.get(INSTANCE, BASTION).labels == {CLUSTER_LABEL: "unit", "khw-role": "bastion"}


def test_nodes_get_out_by_an_address_that_the_firewall_lets_to_the_api(lab: Lab) -> None:
    lab.made(private(lab))
    address = lab.api.get(ADDRESS, f"{NAME}-nat")
    assert address.labels == {CLUSTER_LABEL: "unit"}
    assert lab.backend.network
    (nat,) = lab.backend.network.nats
    assert (nat.network, nat.address, nat.subnets) == (NAME, address.address, None)
    rule = lab.api.get(FIREWALL, f"{NAME}-allow-nodes")
    assert list(rule.source_ranges) == [f"{address.address}/32"]


def test_ssh_is_for_the_operator_to_the_bastion_and_for_the_bastion_to_the_nodes(lab: Lab) -> None:
    lab.made(private(lab))
    rules = {rule.name.removeprefix(f"{NAME}-"): rule for rule in private(lab).firewall()}
    ssh = {
        name: (rule.action, rule.others, rule.machines, rule.priority)
        for name, rule in rules.items()
        if "22" in rule.what
    }
    assert ssh == {
        "allow-ssh": ("allow", "127.0.0.1/32", "bastion", 1000),
        "allow-bastion": ("allow", "10.240.0.253/32", "controller, worker", 800),
        "deny-ssh": ("deny", "0.0.0.0/0", "controller, worker", 900),
    }
    assert (rules["allow-external"].what, rules["allow-external"].machines) == ("tcp 6443", "controller")
    assert "allow-nodeports" not in rules


def test_a_second_run_finds_all_as_it_is_to_be_and_reads_only_what_was_expected(lab: Lab) -> None:
    lab.made(private(lab))
    provider = private(lab)
    provider.look_ahead(("prerequisites", "compute", "load-balancer", "routes"))
    assert {row.status for row in provider.preflight()} == {Status.PASSED, Status.SKIPPED}
    assert changed(provider.ensure_compute()) == []
    cluster = provider.discover()
    assert changed([*provider.ensure_load_balancer(cluster), *provider.ensure_routes(cluster)]) == []
    assert provider.api._ahead._begun == {}


def test_the_bastion_is_no_node_and_leads_to_all_of_them_with_its_own_host_keys(lab: Lab) -> None:
    cluster = lab.made(private(lab))
    assert [node.name for node in cluster.nodes] == ["controller-0", "worker-0", "worker-1"]
    node = cluster.node("worker-0")
    outside = lab.backend.specs[BASTION].external_ip
    assert (node.external_ip, node.ssh_host, node.ssh_jump) == (None, "10.240.0.20", f"khw@{outside}")
    assert node.jump_keys == (KEY,)
    assert not node.unreachable
    assert f"{outside} {KEY}\n" in known_hosts(cluster.nodes)
    options = node_options(cluster.spec, node, {"key_file": "key", "alt_key_file": "hosts"})
    assert (options["jump"].key, options["jump"].known_hosts) == ("key", "hosts")


@pytest.mark.parametrize(("method", "says"), [("stop", "is TERMINATED"), ("delete", "does not exist")])
def test_without_its_bastion_a_node_is_unreachable_and_says_why(lab: Lab, method: str, says: str) -> None:
    provider = private(lab)
    lab.made(provider)
    act(lab, INSTANCE, BASTION, method)
    assert f"the bastion {BASTION} {says}" in provider.discover().node("worker-0").unreachable


def test_a_bastion_that_publishes_no_host_key_leads_nowhere(lab: Lab) -> None:
    lab.backend.silent.add(BASTION)
    provider = private(lab)
    provider.ensure_compute()
    assert "published no SSH host keys" in provider.discover().node("controller-0").unreachable


def test_all_of_it_is_planned_before_there_is_anything_and_nothing_of_it_stays(lab: Lab) -> None:
    provider = private(lab)
    planned = changed(provider.ensure_compute(check=True))
    assert {f"router:{NAME}-router", f"address:{NAME}-nat", f"instance:{BASTION}"} <= set(planned)
    assert changed(provider.ensure_load_balancer(provider.foresee(), check=True))
    lab.made(provider)
    gone = {row.resource for row in provider.foretell()[0]}
    assert set(planned) <= gone
    provider.destroy()
    assert provider.leftovers() == []
    assert lab.project.state.entries == {}


def test_a_router_that_somebody_else_made_under_khws_name_is_a_leftover_and_stays(lab: Lab) -> None:
    provider = private(lab)
    provider.ensure_compute()
    request = {**lab.api.place(ROUTER), "router": f"{NAME}-router", "router_resource": {"description": "mine"}}
    lab.api.start(ROUTER.client, "patch_unary", request)
    (row,) = [row for row in provider.leftovers() if row.startswith("router:")]
    assert "not made by khw" in row


def test_quotas_count_the_bastion_and_its_parts(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from khw.lab.api import catalog

    monkeypatch.setitem(catalog._REGION_QUOTAS, "IN_USE_ADDRESSES", (0, ""))
    monkeypatch.setitem(catalog._REGION_QUOTAS, "INSTANCES", (3, "instances"))
    monkeypatch.setitem(catalog._PROJECT_QUOTAS, "ROUTERS", (0, "routers"))
    rows = {row.name: row for row in private(lab).preflight()}
    assert rows["machine type e2-micro"].status is Status.PASSED
    for short in ("IN_USE_ADDRESSES: 1 more", "INSTANCES: 4 more", "ROUTERS: 1 more"):
        assert short in rows["quotas"].actual


def test_every_right_that_is_used_is_looked_at_and_no_more_than_that_for_public_nodes(lab: Lab, used: set[str]) -> None:
    provider = private(lab)
    provider.preflight()
    lab.made(provider)
    provider.destroy()
    provider.leftovers()
    assert used <= set(gcp_rights.permissions(private_nodes=True))
    assert not [row for row in gcp_rights.permissions() if row.endswith("routers.create")]


def test_the_estimate_has_the_bastion_two_addresses_and_nat(lab: Lab) -> None:
    cost = estimate(private(lab).spec)
    assert cost
    items = {item.what: item for item in cost.items}
    assert items["machine e2-micro"].count == 1
    assert items["external address"].count == 2
    assert items["machine behind NAT"].an_hour == pytest.approx(3 * 0.0014)
    assert items["GB of disk"].count == 3 * 200 + 10


def test_the_bastions_name_and_address_are_nobody_elses(lab: Lab) -> None:
    def told(**changes: object) -> str:
        return " ".join(text for _, text in findings(private(lab, **changes).spec))

    assert told() == ""
    taken = Pool(name="worker", first_address="10.240.0.253", count=1)
    assert "10.240.0.253 of worker-0 is the bastion's" in told(workers=taken)
    named = Pool(name="worker", names=(BASTION,), first_address="10.240.0.20", count=1)
    assert f"two machines are named {BASTION}" in told(workers=named)
    assert "no host name" in told(network=Network(name="n" * 60))


def test_who_has_public_nodes_has_no_names_of_private_ones(lab: Lab) -> None:
    assert names_of(lab.spec(), ROUTER) == set()
    assert names_of(lab.spec(), ADDRESS) == {NAME}


def test_a_scripts_own_netmiko_connections_go_through_the_bastion_too(lab: Lab, tmp_path: Path) -> None:
    cluster = lab.made(private(lab))
    workspace = Workspace(tmp_path / "khw")
    node = cluster.node("worker-0")
    for check in (False, True):
        inventory = inventory_of(cluster, workspace, check=check)
        extras = inventory.hosts["worker-0"].connection_options["netmiko"].extras
        said = paramiko.SSHConfig.from_path(extras["ssh_config_file"]).lookup(node.ssh_host)
        assert said["proxycommand"].endswith(f"-W 10.240.0.20:22 {node.ssh_jump}")
        assert "StrictHostKeyChecking=yes" in said["proxycommand"]
    public = inventory_of(lab.provider().discover(), workspace).hosts["worker-0"]
    assert "ssh_config_file" not in public.connection_options["netmiko"].extras


def test_a_bastion_that_the_file_no_longer_asks_for_is_named_and_is_no_node(lab: Lab) -> None:
    lab.made(private(lab))
    public = lab.provider()
    assert [node.name for node in public.discover().nodes] == ["controller-0", "worker-0", "worker-1"]
    with pytest.raises(DiffersError, match=f"instance {BASTION} is labelled as cluster unit's and is not in"):
        public.ensure_compute()
    public.destroy()
    assert lab.project.state.entries == {}
