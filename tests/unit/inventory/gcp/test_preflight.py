"""Chapter 1: everything that would stop a run later is named before anything is made."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest
from google.cloud import compute_v1

from khw.checks import Status
from khw.cluster.spec import Gcp
from khw.inventory.gcp import rights as gcp_rights
from khw.inventory.gcp import sources as gcp_sources
from khw.inventory.gcp.kinds import FORWARDING_RULE, HEALTH_CHECK, INSTANCE
from khw.inventory.gcp.operations import finish
from khw.lab.api import catalog, rights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from khw.checks import CheckResult
    from khw.inventory.gcp.kinds import Kind

    from ..conftest import Lab

NAME = "kubernetes-the-hard-way"


def looked(lab: Lab, **changes: object) -> Mapping[str, CheckResult]:
    return {row.name: row for row in lab.provider(**changes).preflight()}


def nothing_is_made(lab: Lab) -> bool:
    return not lab.backend.log


def insert(lab: Lab, kind: Kind, message: Any, zone: str = "") -> None:
    request = {**lab.api.place(kind, zone), f"{kind.field}_resource": message}
    finish(lab.api, lab.api.start(kind.client, "insert_unary", request), "a test's insert")


def test_all_that_is_looked_at_is_right_in_an_empty_project(lab: Lab) -> None:
    rows = looked(lab)
    assert {name for name, row in rows.items() if row.status is not Status.PASSED} == set()
    assert {"source ranges", "rights", "names", "quotas"} <= set(rows)
    assert rows["source ranges"].actual == "127.0.0.1/32"


def test_a_permission_that_is_missing_is_named_with_the_role_that_has_it(lab: Lab) -> None:
    lab.project.faults.add("forbidden", on="compute.firewalls.create")
    lab.project.faults.add("forbidden", on="compute.forwardingRules.setLabels")
    row = looked(lab)["rights"]
    assert row.status is Status.FAILED
    assert row.actual.endswith(": compute.firewalls.create, compute.forwardingRules.setLabels")
    assert "roles/compute.admin" in row.hint
    assert "gcloud iam roles create khw --project khw-unit --permissions compute.addresses.create," in row.hint


def test_who_cannot_be_asked_for_rights_does_not_stop_a_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from khw.lab.api.problems import ApiError

    def disabled(*_: object) -> None:
        raise ApiError(403, "accessNotConfigured", "Cloud Resource Manager API has not been used in project 1 before")

    monkeypatch.setattr(rights, "held", disabled)
    row = looked(lab)["rights"]
    assert row.status is Status.SKIPPED
    assert "gcloud services enable cloudresourcemanager.googleapis.com --project khw-unit" in row.actual


def test_everything_that_is_asked_of_the_project_needs_a_right_that_is_looked_at(lab: Lab, used: set[str]) -> None:
    provider = lab.provider()
    provider.preflight()
    lab.made(provider)
    provider.routes()
    provider.destroy()
    provider.leftovers()
    assert used <= set(gcp_rights.permissions())


def test_a_right_that_is_not_held_is_also_refused_when_it_is_used(lab: Lab) -> None:
    from khw.errors import CredentialsError

    lab.project.faults.add("forbidden", on="compute.networks.create")
    with pytest.raises(CredentialsError, match=r"Required 'compute\.networks\.create' permission"):
        lab.provider().ensure_compute()


def test_an_api_that_is_not_enabled_is_named_with_the_command(lab: Lab) -> None:
    lab.project.faults.add("api-disabled", times=0)
    rows = looked(lab)
    assert rows["project"].status is Status.FAILED
    assert "not enabled in project khw-unit" in rows["project"].actual
    assert rows["project"].hint == "`gcloud services enable compute.googleapis.com --project khw-unit`"
    assert {row.status for name, row in rows.items() if name != "project"} == {Status.SKIPPED}


def test_names_that_others_have_are_told_all_at_once_also_those_of_later_chapters(lab: Lab) -> None:
    lab.provider(name="other").ensure_compute()
    check = compute_v1.HealthCheck(name=f"{NAME}-api", type_="TCP", tcp_health_check={"port": 80})
    insert(lab, HEALTH_CHECK, check)
    row = looked(lab)["names"]
    assert row.status is Status.FAILED
    for taken in (f"network:{NAME}", "subnet:kubernetes", f"health-check:{NAME}-api", "instance:worker-0"):
        assert f"{taken} is there, and not khw's for cluster unit" in row.actual
    assert "network.name" in row.hint


def test_a_cluster_that_is_there_is_not_asked_for_names_rights_and_quotas(lab: Lab) -> None:
    lab.provider().ensure_compute()
    rows = looked(lab)
    assert {rows[name].status for name in ("rights", "names", "quotas")} == {Status.SKIPPED}


def test_quotas_of_the_project_count_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog._PROJECT_QUOTAS, "FIREWALLS", (3, "firewalls"))
    row = looked(lab)["quotas"]
    assert row.status is Status.FAILED
    assert "FIREWALLS: 5 more needed, 3 of 3 left" in row.actual


def test_every_zone_is_looked_at(lab: Lab) -> None:
    zones = ("us-west1-a", "us-west1-q")
    gcp = Gcp(project="khw-unit", endpoint=lab.endpoint, credentials="anonymous", zones=zones)
    rows = looked(lab, gcp=gcp)
    assert rows["zone us-west1-a"].status is Status.PASSED
    assert rows["zone us-west1-q"].status is Status.FAILED
    assert rows["machine type e2-standard-2 in us-west1-q"].status is Status.FAILED


def test_an_operator_behind_address_translation_is_told_before_anything_is_made(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcp_sources, "_outgoing", lambda _host, _port: IPv4Address("10.1.2.3"))
    row = looked(lab)["source ranges"]
    assert row.status is Status.FAILED
    assert "source_ranges: [ADDRESS/32]" in row.hint
    assert nothing_is_made(lab)


def test_a_machine_of_another_cluster_is_no_leftover_of_this_one(lab: Lab) -> None:
    lab.provider(name="other").ensure_compute()
    assert lab.api.get(INSTANCE, "worker-0") is not None
    assert not [row for row in lab.provider().leftovers() if row.startswith("instance")]
    assert lab.api.list(FORWARDING_RULE) == []
