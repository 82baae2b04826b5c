"""What goes with `khw destroy`, what is told of beforehand, and what is found when it should all be gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.cloud import compute_v1

from khw.inventory.gcp.kinds import ADDRESS, DISK, FIREWALL, FORWARDING_RULE, NETWORK
from khw.inventory.gcp.operations import finish

if TYPE_CHECKING:
    from ..conftest import Lab

NAME = "kubernetes-the-hard-way"


def test_everything_that_takes_a_label_has_the_clusters(lab: Lab) -> None:
    lab.made(lab.provider())
    mine = {"khw-cluster": "unit"}
    assert [dict(row.labels) for row in lab.api.list(ADDRESS)] == [mine]
    assert [dict(row.labels) for row in lab.api.list(FORWARDING_RULE)] == [mine]
    assert [dict(row.labels) for row in lab.api.list(DISK)] == [mine] * 3
    assert [row.name for row in lab.api.labelled("khw-cluster", "unit")] == ["controller-0", "worker-0", "worker-1"]
    everything = lab.project.state.entries.values()
    assert {e.collection for e in everything if "labels" in e.body} == {
        "instances",
        "disks",
        "addresses",
        "forwardingRules",
    }


def test_a_label_that_somebody_took_away_is_put_back_and_others_stay(lab: Lab) -> None:
    lab.made(lab.provider())
    label(lab, ADDRESS, {"team": "a"})
    changes = [row for row in lab.provider().ensure_compute() if row.changed]
    assert [(row.resource, row.after) for row in changes] == [(f"address:{NAME}", "labels khw-cluster=unit")]
    assert dict(lab.api.list(ADDRESS)[0].labels) == {"khw-cluster": "unit", "team": "a"}


def label(lab: Lab, kind: Any, labels: dict[str, str]) -> None:
    seen = lab.api.list(kind)[0]
    body = {"labels": labels, "label_fingerprint": seen.label_fingerprint}
    request = {**lab.api.place(kind), "resource": seen.name, "region_set_labels_request_resource": body}
    finish(lab.api, lab.api.start(kind.client, "set_labels_unary", request), "a test's labels")


def test_check_says_where_each_thing_is_that_would_go(lab: Lab) -> None:
    lab.made(lab.provider())
    where = {row.resource: row.before for row in lab.provider().foretell()[0]}
    assert where[f"network:{NAME}"] == "global"
    assert where[f"address:{NAME}"] == "us-west1"
    assert where["instance:worker-0"] == "us-west1-c"


def test_what_is_in_the_way_in_the_clusters_network_is_told_beforehand(lab: Lab) -> None:
    lab.made(lab.provider())
    rule = compute_v1.Firewall(name="mine", network=lab.api.link(NETWORK, NAME), allowed=[{"I_p_protocol": "icmp"}])
    request = {"project": "khw-unit", "firewall_resource": rule}
    finish(lab.api, lab.api.start(FIREWALL.client, "insert_unary", request), "a test's insert")
    gone, stays = lab.provider().foretell()
    assert len(gone) == 17
    assert stays == ["firewall:mine (in the cluster's network, which cannot go before it; not khw's)"]


def test_a_disk_that_was_told_to_stay_goes_too_and_none_is_left(lab: Lab) -> None:
    lab.made(lab.provider())
    disk = lab.project.state.entries["zones/us-west1-c/disks/worker-0"]
    disk.hidden["owner"] = ""  # as `gcloud compute instances set-disk-auto-delete --no-auto-delete` leaves it
    assert "disk:worker-0" in {row.resource for row in lab.provider().destroy()}
    assert lab.provider().leftovers() == []
    assert lab.project.state.entries == {}


def test_a_disk_that_a_machine_left_behind_is_found_by_its_label(lab: Lab) -> None:
    lab.made(lab.provider())
    lab.project.state.entries["zones/us-west1-c/disks/worker-1"].hidden["owner"] = ""
    request = {"project": "khw-unit", "zone": "us-west1-c", "instance": "worker-1"}
    finish(lab.api, lab.api.start("InstancesClient", "delete_unary", request), "a test's delete")
    assert "disk:worker-1" in lab.provider().leftovers()


def test_nodes_have_no_service_account_and_so_no_rights_in_the_project(lab: Lab) -> None:
    lab.made(lab.provider())
    machines = [e.body for e in lab.project.state.entries.values() if e.collection == "instances"]
    assert len(machines) == 3
    assert not [row["name"] for row in machines if "serviceAccounts" in row]
