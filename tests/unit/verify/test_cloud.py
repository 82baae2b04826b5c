"""The project's resources, as the provider compares them."""

from __future__ import annotations

from typing import Any, cast

from fakes import cluster

from khw.converge.changes import Action, Change
from khw.errors import DiffersError
from khw.verify import Context
from khw.verify.cloud import resources

SAME = Change(resource="network:kubernetes-the-hard-way", action=Action.UNCHANGED)
GONE = Change(resource="firewall:allow-internal", action=Action.CREATED, after="allowed tcp udp icmp")


class Project:
    """A provider that only compares."""

    def __init__(self, compute: list[Change] | DiffersError) -> None:
        self.compute = compute

    def ensure_compute(self, *, check: bool) -> list[Change]:
        assert check
        if isinstance(self.compute, DiffersError):
            raise self.compute
        return self.compute

    def ensure_load_balancer(self, _cluster: object, *, check: bool) -> list[Change]:
        assert check
        return [SAME]


def look(compute: list[Change] | DiffersError) -> list[Any]:
    nothing = cast("Any", None)
    provider = cast("Any", Project(compute))
    return list(resources(Context(cluster=cluster(), pki=nothing, agents={}, provider=provider, kubectl=nothing)))


def test_a_project_as_it_should_be_is_one_finding() -> None:
    (finding,) = look([SAME])
    assert finding.ok
    assert finding.expected.startswith("2 resources")


def test_a_rule_that_is_gone_is_named_with_what_it_let_through() -> None:
    (finding,) = look([SAME, GONE])
    assert (finding.ok, finding.subject, finding.actual) == (False, "firewall:allow-internal", "it is gone")
    assert "tcp udp icmp" in finding.evidence


def test_what_differs_is_named_one_by_one() -> None:
    said = (
        "firewall a exists and differs: sources is none, expected 10.0.0.0/8\n"
        "address b exists and differs: type is X, expected Y"
    )
    found = look(DiffersError(said, hint="gcloud"))
    assert [finding.subject for finding in found] == ["firewall:a", "address:b"]
    assert found[0].actual == "exists and differs: sources is none, expected 10.0.0.0/8"
