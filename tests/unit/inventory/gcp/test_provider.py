"""The provider, end to end against the emulated API."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from google.cloud import compute_v1

from khw.checks import Status
from khw.cluster.model import NOT_KNOWN_YET
from khw.cluster.spec import Gcp, Network, Pool
from khw.errors import DiffersError, OperationError, ProviderError
from khw.inventory.gcp.kinds import FIREWALL, GROUP, INSTANCE, NETWORK, ROUTE
from khw.inventory.gcp.operations import finish
from khw.lab.backend import MachineState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khw.converge.changes import Change
    from khw.inventory.gcp.kinds import Kind

    from ..conftest import Lab

NAME = "kubernetes-the-hard-way"
OLD = "projects/debian-cloud/global/images/family/debian-12"
COMPUTE = [
    f"network:{NAME}",
    f"address:{NAME}",
    "subnet:kubernetes",
    f"firewall:{NAME}-allow-internal",
    f"firewall:{NAME}-allow-external",
    f"firewall:{NAME}-allow-nodeports",
    "instance:controller-0",
    "instance:worker-0",
    "instance:worker-1",
]


def changed(changes: Iterable[Change]) -> list[str]:
    return [change.resource for change in changes if change.changed]


def insert(lab: Lab, kind: Kind, message: Any) -> None:
    """Make something that khw did not make."""
    api = lab.api
    request = {**api.place(kind), f"{kind.field}_resource": message}
    finish(api, api.start(kind.client, "insert_unary", request), "a test's insert")


def act(lab: Lab, kind: Kind, name: str, method: str, **more: Any) -> None:
    """Do something to a resource behind khw's back."""
    api = lab.api
    request = {**api.place(kind), kind.field: name, **more}
    finish(api, api.start(kind.client, f"{method}_unary", request), f"a test's {method}")


# Chapter 1


def test_preflight_passes_where_all_is_there(lab: Lab) -> None:
    rows = lab.provider().preflight()
    assert {row.name: row.status for row in rows if row.status is not Status.PASSED} == {}
    assert {"project", "zone", "machine type e2-standard-2", "image debian-12"} <= {row.name for row in rows}


def test_preflight_names_a_machine_type_and_an_image_that_do_not_exist(lab: Lab) -> None:
    pool = Pool(name="worker", first_address="10.240.0.20", machine_type="e2-none", image="global/images/none")
    rows = {row.name: row for row in lab.provider(workers=pool).preflight()}
    assert rows["machine type e2-none"].status is Status.FAILED
    assert "e2-none" in rows["machine type e2-none"].actual
    assert "gcloud compute machine-types list" in rows["machine type e2-none"].hint
    assert rows["image none"].status is Status.FAILED
    assert rows["quotas"].status is Status.SKIPPED


def test_preflight_names_a_project_that_does_not_exist(lab: Lab) -> None:
    gcp = Gcp(project="no-such-project", endpoint=lab.endpoint, credentials="anonymous")
    rows = lab.provider(gcp=gcp).preflight()
    assert rows[0].status is Status.FAILED
    assert "project no-such-project does not exist" in rows[0].actual
    assert {row.status for row in rows[1:]} == {Status.SKIPPED}


def test_preflight_names_a_quota_that_is_too_small(lab: Lab) -> None:
    pool = Pool(name="worker", first_address="10.240.1.0", count=200, disk_gb=60_000)
    network = Network(subnet_cidr="10.240.0.0/16")
    rows = {row.name: row for row in lab.provider(workers=pool, network=network).preflight()}
    assert rows["quotas"].status is Status.FAILED
    assert "more needed" in rows["quotas"].actual


# Chapter 3


def test_check_says_what_would_be_made_and_makes_nothing(lab: Lab) -> None:
    provider = lab.provider()
    assert changed(provider.ensure_compute(check=True)) == COMPUTE
    assert lab.backend.log == []
    assert provider.leftovers() == []


def test_compute_makes_all_and_then_nothing_more(lab: Lab) -> None:
    provider = lab.provider()
    assert changed(provider.ensure_compute()) == COMPUTE
    assert changed(provider.ensure_compute()) == []
    assert changed(lab.provider().ensure_compute()) == []


def test_the_machines_are_as_the_guide_has_them(lab: Lab) -> None:
    lab.provider().ensure_compute()
    worker = lab.backend.specs["worker-1"]
    assert (worker.internal_ip, worker.image, worker.machine_type) == ("10.240.0.21", "debian-12", "e2-standard-2")
    assert worker.can_ip_forward
    assert worker.external_ip
    assert set(worker.tags) == {NAME, "worker"}
    assert worker.metadata["pod-cidr"] == "10.200.1.0/24"
    assert worker.metadata["enable-guest-attributes"] == "TRUE"
    assert worker.metadata["ssh-keys"].startswith("khw:ssh-ed25519 AAAA")
    assert worker.metadata["ssh-keys"].endswith(" khw")
    assert "pod-cidr" not in lab.backend.specs["controller-0"].metadata


def test_machines_of_one_pool_may_be_made_from_different_images(lab: Lab) -> None:
    new = "projects/debian-cloud/global/images/family/debian-13"
    provider = lab.provider(workers=Pool(name="worker", first_address="10.240.0.20", count=3, images=(OLD, new)))
    told = [row.name for row in provider.preflight() if row.name.startswith("image ")]
    assert told == ["image debian-12", "image debian-13"]
    provider.ensure_compute()
    made = {name: row.image for name, row in lab.backend.specs.items()}
    assert made == {
        "controller-0": "debian-12",
        "worker-0": "debian-12",
        "worker-1": "debian-13",
        "worker-2": "debian-12",  # what is not listed is `image`
    }
    assert changed(provider.ensure_compute()) == []


def test_all_machines_are_asked_for_at_once(lab: Lab) -> None:
    lab.backend.gate = threading.Barrier(3)  # each creation waits for the other two
    lab.provider().ensure_compute()
    assert len(lab.backend.specs) == 3


def test_a_machine_that_was_deleted_is_made_again_and_nothing_else(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    act(lab, INSTANCE, "worker-1", "delete")
    assert changed(provider.ensure_compute()) == ["instance:worker-1"]


def test_a_machine_that_cannot_be_made_is_named_and_the_others_are_made(lab: Lab) -> None:
    provider = lab.provider()
    lab.backend.broken = {"worker-0"}
    with pytest.raises(OperationError, match="creating instance worker-0: no room for worker-0"):
        provider.ensure_compute()
    lab.backend.broken = set()
    assert changed(provider.ensure_compute()) == ["instance:worker-0"]


def test_a_rule_that_differs_is_named_and_nothing_is_touched(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    act(lab, INSTANCE, "worker-1", "delete")
    network = Network(source_ranges=("203.0.113.7/32",))  # not the operator's own, which follows: it is listed
    with pytest.raises(DiffersError) as caught:
        lab.provider(network=network).ensure_compute()
    assert (
        f"firewall {NAME}-allow-external exists and differs: sources is 127.0.0.1/32, expected 203.0.113.7/32"
        in caught.value.message
    )
    assert f"gcloud compute firewall-rules delete {NAME}-allow-external" in caught.value.hint
    assert "create worker-1" in lab.backend.log
    assert lab.backend.log[-1] == "delete worker-1"


def test_a_machine_of_another_type_is_named_with_both_types(lab: Lab) -> None:
    lab.provider().ensure_compute()
    pool = Pool(name="worker", first_address="10.240.0.20", count=2, machine_type="e2-standard-4")
    with pytest.raises(DiffersError, match="machine-type is e2-standard-2, expected e2-standard-4"):
        lab.provider(workers=pool).ensure_compute()


def test_a_network_of_somebody_elses_is_not_taken_over(lab: Lab) -> None:
    insert(lab, NETWORK, compute_v1.Network(name=NAME, auto_create_subnetworks=False, description="mine"))
    provider = lab.provider()
    with pytest.raises(DiffersError, match="description is mine, expected khw cluster unit"):
        provider.ensure_compute()
    assert provider.destroy() == []
    assert provider.leftovers() == [f"network:{NAME} (of this name, and not made by khw for this cluster)"]


def test_a_machine_that_is_no_longer_in_the_file_is_named_and_kept(lab: Lab) -> None:
    lab.provider().ensure_compute()
    pool = Pool(name="worker", first_address="10.240.0.20", count=1)
    with pytest.raises(DiffersError, match="instance worker-1 is labelled as cluster unit's and is not in"):
        lab.provider(workers=pool).ensure_compute()
    assert lab.backend.machine_state("worker-1") is MachineState.RUNNING


def test_labels_and_tags_of_others_are_theirs(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    seen = lab.api.get(INSTANCE, "worker-0")
    body = {"labels": {**seen.labels, "team": "a"}, "label_fingerprint": seen.label_fingerprint}
    act(lab, INSTANCE, "worker-0", "set_labels", instances_set_labels_request_resource=body)
    assert changed(provider.ensure_compute()) == []


# Discovery


def test_discovery_finds_what_compute_made(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    cluster = provider.discover()
    assert [node.name for node in cluster.nodes] == ["controller-0", "worker-0", "worker-1"]
    worker = cluster.node("worker-1")
    assert worker.internal_ip == "10.240.0.21"
    assert worker.external_ip == worker.ssh_host == lab.backend.specs["worker-1"].external_ip
    assert worker.pod_cidr == "10.200.1.0/24"
    assert worker.zone == "us-west1-c"
    assert worker.host_keys[0].startswith("ssh-ed25519 AAAA")
    assert worker.unreachable == ""
    assert cluster.api_address.startswith("127.249.0.")


def test_discovery_of_nothing_says_what_makes_it(lab: Lab) -> None:
    with pytest.raises(ProviderError, match="has no machine of cluster unit") as caught:
        lab.provider().discover()
    assert "khw run --phase compute" in caught.value.hint


def test_a_stopped_machine_is_told_and_not_started(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    act(lab, INSTANCE, "worker-0", "stop")
    assert changed(provider.ensure_compute()) == []
    cluster = provider.discover()
    assert cluster.node("worker-0").unreachable == "its instance is TERMINATED"
    assert cluster.node("worker-1").unreachable == ""
    assert lab.backend.machine_state("worker-0") is MachineState.STOPPED


def test_a_machine_that_is_gone_is_in_the_cluster_and_told(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    act(lab, INSTANCE, "controller-0", "delete")
    cluster = provider.discover()
    assert cluster.node("controller-0").unreachable == "its instance does not exist"
    assert [node.name for node in cluster.controllers] == ["controller-0"]


def test_host_keys_are_waited_for_and_a_silent_machine_is_told(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    lab.backend.silent = {"worker-0", "worker-1"}
    timer = threading.Timer(0.7, lab.backend.silent.discard, args=["worker-1"])
    timer.start()
    cluster = provider.discover()
    timer.join()
    assert cluster.node("worker-1").host_keys
    told = cluster.node("worker-0").unreachable
    assert told.startswith("it published no SSH host keys within 2 s of boot")
    assert "gcloud compute instances get-serial-port-output worker-0 --zone us-west1-c --project khw-unit" in told


def test_another_cluster_in_the_project_is_not_seen(lab: Lab) -> None:
    lab.provider().ensure_compute()
    with pytest.raises(ProviderError, match="has no machine of cluster other"):
        lab.provider(name="other").discover()
    assert lab.provider(name="other", network=Network(name="other", subnet="other")).destroy() == []


# Chapters 8 and 11


def test_the_load_balancer_is_made_once_with_the_controllers_behind_it(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    cluster = provider.discover()
    expected = [
        f"firewall:{NAME}-allow-health-check",
        f"firewall:{NAME}-allow-nodes",
        f"instance-group:{NAME}-controllers",
        f"health-check:{NAME}-api",
        f"instance-group:{NAME}-controllers/controller-0",
        f"backend-service:{NAME}-api",
        f"forwarding-rule:{NAME}-api",
    ]
    assert changed(provider.ensure_load_balancer(cluster, check=True)) == expected
    assert changed(provider.ensure_load_balancer(cluster)) == expected
    assert changed(provider.ensure_load_balancer(cluster)) == []
    assert lab.backend.network
    balancer = lab.backend.network.load_balancers[0]
    assert (balancer.address, balancer.ports, balancer.machines) == (
        cluster.api_address,
        ("6443",),
        ("controller-0",),
    )
    assert balancer.health_check
    assert (balancer.health_check.kind, balancer.health_check.path) == ("HTTPS", "/readyz")


def test_a_controller_that_was_made_again_is_put_behind_the_load_balancer_again(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    provider.ensure_load_balancer(provider.discover())
    act(lab, INSTANCE, "controller-0", "delete")
    provider.ensure_compute()
    changes = provider.ensure_load_balancer(provider.discover())
    assert changed(changes) == [f"instance-group:{NAME}-controllers/controller-0"]


def test_a_stranger_behind_the_load_balancer_is_named(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    cluster = provider.discover()
    provider.ensure_load_balancer(cluster)
    body = {"instances": [{"instance": lab.api.link(INSTANCE, "worker-0")}]}
    act(lab, GROUP, f"{NAME}-controllers", "add_instances", instance_groups_add_instances_request_resource=body)
    with pytest.raises(DiffersError, match="it holds worker-0, expected only controller-0") as caught:
        provider.ensure_load_balancer(cluster)
    assert "remove-instances" in caught.value.hint


def test_routes_are_made_once_and_the_table_has_the_default_ones_too(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    cluster = provider.discover()
    expected = ["route:kubernetes-route-10-200-0-0-24", "route:kubernetes-route-10-200-1-0-24"]
    assert changed(provider.ensure_routes(cluster)) == expected
    assert changed(provider.ensure_routes(cluster)) == []
    table = {(row.dest_range, row.next_hop, row.priority) for row in provider.routes()}
    assert table == {
        ("0.0.0.0/0", "default-internet-gateway", 1000),
        ("10.240.0.0/24", NAME, 0),
        ("10.200.0.0/24", "10.240.0.20", 1000),
        ("10.200.1.0/24", "10.240.0.21", 1000),
    }
    assert {row.network for row in provider.routes()} == {NAME}


def test_a_route_to_the_wrong_machine_is_named(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    route = compute_v1.Route(
        name="kubernetes-route-10-200-0-0-24",
        network=lab.api.link(NETWORK, NAME),
        dest_range="10.200.0.0/24",
        next_hop_ip="10.240.0.21",
        description="khw cluster unit",
    )
    insert(lab, ROUTE, route)
    with pytest.raises(DiffersError, match=r"next-hop is 10\.240\.0\.21, expected 10\.240\.0\.20"):
        provider.ensure_routes(provider.discover())


# Chapter 14


def all_of(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    cluster = provider.discover()
    provider.ensure_load_balancer(cluster)
    provider.ensure_routes(cluster)


def test_destroy_removes_all_again_and_again(lab: Lab) -> None:
    all_of(lab)
    provider = lab.provider()
    assert len(provider.leftovers()) == 17
    assert len(changed(provider.foretell()[0])) == 17
    assert len(provider.leftovers()) == 17
    assert len(changed(provider.destroy())) == 17
    assert provider.leftovers() == []
    assert provider.destroy() == []
    assert lab.backend.specs == {}
    assert lab.project.state.entries == {}


def test_the_firewall_is_told_in_words_in_the_order_in_which_its_rules_count(lab: Lab) -> None:
    all_of(lab)
    theirs = compute_v1.Firewall(
        name="theirs",
        network=lab.api.link(NETWORK, NAME),
        denied=[{"I_p_protocol": "udp", "ports": ["53"]}],
        source_ranges=["192.0.2.0/24"],
        priority=900,
    )
    insert(lab, FIREWALL, theirs)
    first, *others = lab.provider().firewall()
    assert (first.name, first.action, first.what, first.others, first.machines) == (
        ("theirs", "deny", "udp 53", "192.0.2.0/24", "")
    )
    external = next(rule for rule in others if rule.name.endswith("allow-external"))
    assert (external.action, external.what) == ("allow", "tcp 22, 6443; icmp")
    assert any(rule.machines == "worker" for rule in others)


def test_destroy_takes_up_a_half_destroyed_project(lab: Lab) -> None:
    all_of(lab)
    for name in ("controller-0", "worker-0"):
        act(lab, INSTANCE, name, "delete")
    act(lab, FIREWALL, f"{NAME}-allow-internal", "delete")
    provider = lab.provider()
    assert len(changed(provider.destroy())) == 14
    assert provider.leftovers() == []


def test_destroy_leaves_what_others_made_in_the_network_and_says_what_is_in_the_way(lab: Lab) -> None:
    all_of(lab)
    rule = compute_v1.Firewall(name="mine", network=lab.api.link(NETWORK, NAME), allowed=[{"I_p_protocol": "icmp"}])
    insert(lab, FIREWALL, rule)
    provider = lab.provider()
    with pytest.raises(ProviderError, match=r"deleting network .* already being used by .*firewalls/mine"):
        provider.destroy()
    assert [row.partition(" ")[0] for row in provider.leftovers()] == ["firewall:mine", f"network:{NAME}"]
    act(lab, FIREWALL, "mine", "delete")
    assert changed(provider.destroy()) == [f"network:{NAME}"]


def test_a_firewall_rule_that_says_the_same_port_by_port_as_gcloud_writes_it_is_the_same(lab: Lab) -> None:
    all_of(lab)
    name = f"{NAME}-allow-external"
    allowed = [
        {"I_p_protocol": "tcp", "ports": ["22"]},
        {"I_p_protocol": "tcp", "ports": ["6443"]},
        {"I_p_protocol": "icmp"},
    ]
    act(lab, FIREWALL, name, "patch", firewall_resource=compute_v1.Firewall(allowed=allowed))
    assert [list(row.ports) for row in lab.api.get(FIREWALL, name).allowed] == [["22"], ["6443"], []]
    assert changed(lab.provider().ensure_compute(check=True)) == []


def test_destroy_waits_for_what_an_interrupted_run_left_half_made(lab: Lab) -> None:
    gate = lab.backend.gate = threading.Barrier(4)  # three creations, and the test
    with ThreadPoolExecutor(2) as pool:
        making = pool.submit(lab.provider().ensure_compute)
        while gate.n_waiting < 3:
            assert not making.done()
            time.sleep(0.01)
        removing = pool.submit(lab.provider().destroy)
        with pytest.raises(TimeoutError):
            removing.result(timeout=1)
        gate.wait(timeout=10)
        making.result(timeout=10)
        assert "instance:worker-1" in changed(removing.result(timeout=10))
    assert lab.provider().leftovers() == []
    assert lab.backend.specs == {}


def test_everything_can_be_made_again_after_destroy(lab: Lab) -> None:
    all_of(lab)
    lab.provider().destroy()
    assert changed(lab.provider().ensure_compute()) == COMPUTE


def test_before_there_is_anything_the_cluster_is_foreseen_from_its_file(lab: Lab) -> None:
    cluster = lab.provider().foresee()
    assert [node.name for node in cluster.nodes] == ["controller-0", "worker-0", "worker-1"]
    assert cluster.api_address == NOT_KNOWN_YET
    worker = cluster.node("worker-1")
    assert (worker.exists, worker.external_ip, worker.zone) == (False, None, "us-west1-c")
    assert (worker.internal_ip, worker.pod_cidr) == ("10.240.0.21", "10.200.1.0/24")


def test_load_balancer_and_routes_of_a_foreseen_cluster_are_planned_as_they_are_then_made(lab: Lab) -> None:
    provider = lab.provider()
    foreseen = provider.foresee()
    plan = [*provider.ensure_compute(check=True), *provider.ensure_load_balancer(foreseen, check=True)]
    plan += provider.ensure_routes(foreseen, check=True)
    assert not lab.backend.log
    done = list(provider.ensure_compute())
    cluster = provider.discover()
    done += [*provider.ensure_load_balancer(cluster), *provider.ensure_routes(cluster)]
    assert changed(plan) == changed(done)


def test_of_a_cluster_that_misses_one_machine_only_that_one_is_foreseen(lab: Lab) -> None:
    provider = lab.provider()
    provider.ensure_compute()
    act(lab, INSTANCE, "worker-0", "delete")
    foreseen, discovered = provider.foresee(), provider.discover()
    assert [node.name for node in foreseen.nodes if not node.exists] == ["worker-0"]
    assert foreseen.node("worker-1") == discovered.node("worker-1")
    assert foreseen.api_address == discovered.api_address
