"""
Every request that changes something × every fault: it is made once, or the error names it; then destroy leaves nothing.

The cluster is the widest that there is: private nodes behind a bastion and Cloud NAT, over three zones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from khw.cluster.spec import Gcp, Pool, Timeouts
from khw.errors import OperationError, ProviderError
from khw.inventory.gcp import operations as gcp_operations
from khw.inventory.gcp import patience as gcp_patience
from khw.lab.api import rights
from khw.lab.api.faults import SORTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from khw.inventory.gcp.provider import GcpProvider
    from khw.lab.api.faults import Fault, Place
    from khw.lab.api.project import Project

    from ..conftest import Lab

HASTE = Timeouts(boot=0.3, cloud=20)
SHORT = Timeouts(boot=0.3, cloud=1)
SLOW = 1.5  # seconds of an operation: longer than khw waits when it is SHORT

MAKING = (
    {"networks.insert": "creating network", "addresses.insert": "creating address"},
    {
        "addresses.setLabels": "labelling address",
        "subnetworks.insert": "creating subnet",
        "firewalls.insert": "creating firewall",
    },
    {"routers.insert": "creating router", "instances.insert": "creating instance"},
    {"instanceGroups.insert": "creating instance-group", "regionHealthChecks.insert": "creating health-check"},
    {"instanceGroups.addInstances": "adding controller-0 to instance group"},
    {"regionBackendServices.insert": "creating backend-service"},
    {"forwardingRules.insert": "creating forwarding-rule"},
    {"forwardingRules.setLabels": "labelling forwarding-rule"},
    {"routes.insert": "creating route"},
)
"""What a run asks for, in the order in which it can be made, and what an error says of it."""

REMOVING = (
    {
        "forwardingRules.delete": "forwarding-rule",
        "routes.delete": "route",
        "firewalls.delete": "firewall",
        "routers.delete": "router",
        "instances.delete": "instance",
    },
    {"regionBackendServices.delete": "backend-service", "addresses.delete": "address"},
    {"regionHealthChecks.delete": "health-check", "instanceGroups.delete": "instance-group"},
    {"subnetworks.delete": "subnet"},
    {"networks.delete": "network"},
)
"""What destroy asks for, in the order in which it can go, and what an error calls it."""


def flat(layers: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """All of them as one."""
    return {on: said for layer in layers for on, said in layer.items()}


PASSING = ("rate-limit", "rate-limit-403", "unavailable", "internal", "bad-gateway", "silence", "lost-answer")
"""What a request meets in turn, and is made again for."""

TOLD: dict[str, tuple[type[ProviderError], str]] = {
    "quota": (ProviderError, r"Quota 'CPUS' exceeded.*\(quotaExceeded\)"),
    "quota-late": (OperationError, r"Quota 'CPUS' exceeded.*\(QUOTA_EXCEEDED\)"),
    "exhausted": (OperationError, r"The zone does not.*\(ZONE_RESOURCE_POOL_EXHAUSTED\)"),
    "operation-error": (OperationError, r"Internal error.*\(INTERNAL_ERROR\)"),
    "slow-operation": (OperationError, r"operation \S+ did not end within 1 s"),
}
"""What ends a run, and what its error says."""


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcp_patience, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(gcp_patience, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(gcp_operations, "NOT_READY_PAUSE", 0.05)


@dataclass
class Widest:
    """A cluster in the emulated project, and what is asked for there."""

    lab: Lab
    asked: set[str] = field(default_factory=set)

    def provider(self, timeouts: Timeouts = HASTE) -> GcpProvider:
        gcp = Gcp(
            project="khw-unit",
            endpoint=self.lab.endpoint,
            credentials="anonymous",
            private_nodes=True,
            zone="us-west1-a",
            zones=("us-west1-a", "us-west1-b"),
        )
        workers = Pool(name="worker", first_address="10.240.0.20", count=2)
        return self.lab.provider(gcp=gcp, workers=workers, timeouts=timeouts)

    def run(self, timeouts: Timeouts = HASTE, provider: GcpProvider | None = None) -> bool:
        """Make everything, as a run does; say whether anything changed."""
        provider = provider or self.provider(timeouts)
        changes = list(provider.ensure_compute())
        cluster = provider.discover()
        changes += [*provider.ensure_load_balancer(cluster), *provider.ensure_routes(cluster)]
        return any(change.changed for change in changes)

    def meet(self, sort: str, on: str, *, times: int = 1, slow: float = SLOW) -> None:
        """Ask for a fault; only what is slow takes long."""
        seconds = slow if sort == "slow-operation" else 0.05
        self.lab.project.faults.add(sort, on=on, times=times, seconds=seconds)

    def meet_in_turn(self, methods: Iterable[str]) -> None:
        """Ask for one of each that passes, for each of these methods."""
        for on in methods:
            for sort in PASSING:
                self.meet(sort, on)

    @property
    def met(self) -> int:
        """How often a fault was met."""
        return sum(row.met for row in self.lab.project.faults.rows())

    def nothing_is_left_after_destroy(self) -> None:
        provider = self.provider()
        provider.destroy()
        assert all(row.is_over for row in self.lab.project.faults.rows()), "a fault was met by nothing"
        assert provider.leftovers() == []
        assert self.lab.project.state.entries == {}
        assert self.lab.backend.specs == {}


@pytest.fixture
def widest(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Widest:
    it = Widest(lab)
    require = rights.require

    def watched(project: Project, method: str, name: str) -> None:
        it.asked.add(method)
        require(project, method, name)

    monkeypatch.setattr(rights, "require", watched)
    return it


def test_these_are_all_requests_of_a_run_and_of_its_end(widest: Widest) -> None:
    widest.run()
    widest.nothing_is_left_after_destroy()
    changing = {method for method in widest.asked if not method.endswith(("get", "List", "list", "Instances"))}
    changing -= {"globalOperations.wait", "regionOperations.wait", "zoneOperations.wait"}
    changing -= {method for method in changing if method.startswith("instances.get")}
    assert changing | {"instanceGroups.addInstances"} == {*flat(MAKING), *flat(REMOVING)}


def test_every_sort_of_fault_is_met_here_or_in_the_other_file() -> None:
    elsewhere = {"never-boots", "stale-lists", "api-disabled", "forbidden"}
    assert set(SORTS) == {*PASSING, *TOLD, *elsewhere}


def test_every_request_of_a_run_meets_all_that_passes_in_turn_and_all_is_made_once(widest: Widest) -> None:
    widest.meet_in_turn(flat(MAKING))
    assert widest.run()
    assert sum(line.startswith("create ") for line in widest.lab.backend.log) == 4
    assert not widest.run()
    widest.nothing_is_left_after_destroy()


@pytest.mark.parametrize("sort", TOLD)
def test_what_does_not_pass_is_named_wherever_it_is_and_the_next_run_goes_on(widest: Widest, sort: str) -> None:
    error, said = TOLD[sort]
    told: list[str] = []
    for number in range(len(MAKING)):
        for on in flat(MAKING[number:]):
            widest.meet(sort, on, times=0)
        with pytest.raises(error) as caught:
            widest.run(SHORT if sort == "slow-operation" else HASTE)
        told += str(caught.value).splitlines()
        assert caught.value.hint
        widest.lab.project.faults.clear()
    for doing in flat(MAKING).values():
        assert any(re.match(rf"{doing}.*: {said}", line) for line in told), doing
    widest.run()
    assert not widest.run()
    widest.nothing_is_left_after_destroy()


@pytest.mark.parametrize("on", [min(layer) for layer in MAKING])
def test_destroy_after_a_run_that_failed_leaves_nothing(widest: Widest, on: str) -> None:
    widest.meet("operation-error", on)
    with pytest.raises(OperationError, match=flat(MAKING)[on]):
        widest.run()
    widest.nothing_is_left_after_destroy()


@pytest.mark.parametrize("on", flat(MAKING))
def test_destroy_after_ctrl_c_leaves_nothing_of_what_goes_on_without_khw(
    widest: Widest, monkeypatch: pytest.MonkeyPatch, on: str
) -> None:
    provider, faults = widest.provider(), widest.lab.project.faults
    meet = faults.meet

    def stopping(place: Place, method: str, name: str) -> Fault | None:
        fault = meet(place, method, name)
        if fault:
            provider.stop()
        return fault

    monkeypatch.setattr(faults, "meet", stopping)
    widest.meet("slow-operation", on, slow=0.4)
    with pytest.raises(OperationError, match=f"{flat(MAKING)[on]}.*: interrupted; operation .* goes on without khw"):
        widest.run(provider=provider)
    widest.nothing_is_left_after_destroy()


def test_every_request_of_destroy_meets_all_that_passes_in_turn(widest: Widest) -> None:
    widest.run()
    widest.meet_in_turn(flat(REMOVING))
    widest.nothing_is_left_after_destroy()


@pytest.mark.parametrize("sort", ["operation-error", "slow-operation", "unavailable"])
def test_destroy_that_is_broken_off_names_what_is_still_there_and_is_taken_up_again(widest: Widest, sort: str) -> None:
    widest.run()
    for number, layer in enumerate(REMOVING):
        for on in flat(REMOVING[number:]):
            widest.meet(sort, on, times=0)
        with pytest.raises(ProviderError) as caught:
            widest.provider(SHORT).destroy()
        assert "again" in caught.value.hint
        assert all(f"deleting {kind} " in str(caught.value) for kind in layer.values())
        if sort != "slow-operation":  # what is slow goes all the same
            left = widest.provider().leftovers()
            assert all(any(row.startswith(f"{kind}:") for row in left) for kind in layer.values())
        widest.lab.project.faults.clear()
    widest.nothing_is_left_after_destroy()
