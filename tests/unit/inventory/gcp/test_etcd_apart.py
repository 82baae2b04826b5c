"""etcd on machines of its own, in a project: made, found, counted, priced, let in, and gone again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.checks import Status
from khw.cluster.rules import findings
from khw.cluster.spec import Gcp, Pool, Role, Spec
from khw.inventory.gcp.cost import estimate
from khw.inventory.gcp.kinds import FIREWALL
from khw.lab.api import catalog

if TYPE_CHECKING:
    import pytest

    from ..conftest import Lab

NAME = "kubernetes-the-hard-way"
ETCD = Pool(name="etcd", first_address="10.240.0.30", count=3, machine_type="e2-standard-4", disk_gb=50)


def test_they_are_members_of_etcd_and_the_controllers_are_not(lab: Lab) -> None:
    cluster = lab.made(lab.provider(etcd=ETCD))
    assert [node.name for node in cluster.nodes] == [
        "controller-0",
        "etcd-0",
        "etcd-1",
        "etcd-2",
        "worker-0",
        "worker-1",
    ]
    assert [node.name for node in cluster.etcd_members] == ["etcd-0", "etcd-1", "etcd-2"]
    assert cluster.node("controller-0").roles == {Role.CONTROLLER}
    assert cluster.node("etcd-1").pod_cidr is None
    machine = lab.backend.specs["etcd-0"]
    assert (machine.machine_type, machine.internal_ip, machine.tags) == ("e2-standard-4", "10.240.0.30", ("etcd", NAME))


def test_a_second_run_changes_nothing_and_destroy_leaves_nothing(lab: Lab) -> None:
    provider = lab.provider(etcd=ETCD)
    cluster = lab.made(provider)
    changes = [*provider.ensure_compute(), *provider.ensure_load_balancer(cluster), *provider.ensure_routes(cluster)]
    assert not [row for row in changes if row.changed]
    provider.destroy()
    assert provider.leftovers() == []
    assert lab.project.state.entries == {}


def test_a_plan_knows_who_is_in_etcd_before_there_is_a_machine(lab: Lab) -> None:
    cluster = lab.provider(etcd=ETCD).foresee()
    assert [node.name for node in cluster.etcd_members] == ["etcd-0", "etcd-1", "etcd-2"]


def test_over_three_zones_each_member_is_in_one_of_its_own(lab: Lab) -> None:
    zones = ("us-west1-a", "us-west1-b", "us-west1-c")
    gcp = Gcp(project="khw-unit", endpoint=lab.endpoint, credentials="anonymous", zones=zones)
    cluster = lab.made(lab.provider(etcd=ETCD, gcp=gcp))
    assert tuple(node.zone for node in cluster.etcd_members) == zones


def test_private_ones_take_ssh_from_the_bastion_alone(lab: Lab) -> None:
    gcp = Gcp(project="khw-unit", endpoint=lab.endpoint, credentials="anonymous", private_nodes=True)
    lab.made(lab.provider(etcd=ETCD, gcp=gcp))
    for rule in ("deny-ssh", "allow-bastion"):
        assert "etcd" in lab.api.get(FIREWALL, f"{NAME}-{rule}").target_tags


def test_they_are_in_the_estimate(lab: Lab) -> None:
    without, with_them = estimate(lab.spec()), estimate(lab.spec(etcd=ETCD))
    assert without
    assert with_them
    rows = {item.what: item.count for item in with_them.items}
    assert (rows["machine e2-standard-4"], rows["machine e2-standard-2"], rows["GB of disk"]) == (3, 3, 750)
    assert rows["external address"] == 6
    assert with_them.an_hour > without.an_hour


def test_they_are_in_what_is_asked_of_the_quotas(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three machines of two CPUs, and three of four: 18."""
    limits = {**catalog._REGION_QUOTAS, "CPUS": (17, ""), "INSTANCES": (5, "instances")}
    monkeypatch.setattr(catalog, "_REGION_QUOTAS", limits)
    row = next(row for row in lab.provider(etcd=ETCD).preflight() if row.name == "quotas")
    assert row.status is Status.FAILED
    assert "CPUS: 18 more needed, 17 of 17 left" in row.actual
    assert "INSTANCES: 6 more needed, 5 of 5 left" in row.actual


def test_their_machine_type_is_looked_for(lab: Lab) -> None:
    unknown = ETCD.model_copy(update={"machine_type": "z9-tiny"})
    rows = {row.name: row.status for row in lab.provider(etcd=unknown).preflight()}
    assert rows["machine type z9-tiny"] is Status.FAILED


def told(**pools: Pool) -> list[str]:
    return [text for _, text in findings(Spec(gcp=Gcp(project="p"), **pools))]


def test_they_are_an_odd_number_and_then_controllers_need_not_be() -> None:
    two = Pool(name="controller", first_address="10.240.0.10", count=2)
    assert told(controllers=two, etcd=ETCD) == []
    assert told(etcd=ETCD.model_copy(update={"count": 2})) == [
        "2 machines for etcd: it needs an odd number, so make it 1 or 3"
    ]
    none = two.model_copy(update={"count": 0})
    assert told(controllers=none, etcd=ETCD) == ["0 controllers: there must be at least one"]


def test_their_names_and_addresses_are_theirs_alone() -> None:
    clash = ETCD.model_copy(update={"names": ("worker-0",), "addresses": ("10.240.0.20",)})
    assert len(told(etcd=Pool.model_validate(clash.model_dump()))) == 2
