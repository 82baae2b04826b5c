from __future__ import annotations

import threading

import pytest

from khw.cluster.spec import Role
from khw.engine.gates import Blocked, Board, Cancelled, Need, Quorum, members_of
from khw.engine.report import OPERATOR, Outcome

CONTROLLERS = ("controller-0", "controller-1", "controller-2")


def board(*active: tuple[str, str]) -> Board:
    return Board(members_of((name, Role.CONTROLLER) for name in CONTROLLERS), frozenset(active))


ETCD = tuple((host, "etcd") for host in CONTROLLERS)
MAJORITY = Need("etcd", Role.CONTROLLER, Quorum.MAJORITY)


def test_a_majority_of_three_opens_at_the_second() -> None:
    it = board(*ETCD)
    it.record("controller-0", "etcd", Outcome.CHANGED)
    assert "controller-1, controller-2" in it.closed([MAJORITY])
    it.record("controller-2", "etcd", Outcome.OK)
    assert it.closed([MAJORITY]) == ""


def test_what_is_not_part_of_the_run_was_done_before() -> None:
    it = board(("controller-0", "etcd"))
    assert it.closed([MAJORITY]) == ""
    assert "controller-0" in it.closed([Need("etcd", Role.CONTROLLER, Quorum.ALL)])


def test_a_gate_that_can_no_longer_open_blocks_and_says_who() -> None:
    it = board(*ETCD)
    it.record("controller-0", "etcd", Outcome.FAILED)
    assert it.closed([MAJORITY])
    it.record("controller-1", "etcd", Outcome.UNREACHABLE)
    with pytest.raises(Blocked, match="controller-0 failed, controller-1 unreachable"):
        it.wait([MAJORITY])


def test_a_role_without_hosts_needs_nothing() -> None:
    it = Board(members_of([]), frozenset())
    assert it.closed([Need("workers", Role.WORKER, Quorum.ALL), Need("workers", Role.WORKER)]) == ""


def test_the_operators_side_is_a_host_like_any_other() -> None:
    it = board((OPERATOR, "routes"))
    assert it.closed([Need("routes")])
    it.record(OPERATOR, "routes", Outcome.OK)
    assert it.closed([Need("routes")]) == ""


def test_a_waiting_host_goes_on_when_the_gate_opens() -> None:
    it = board(*ETCD)
    through = threading.Event()
    waiter = threading.Thread(target=lambda: (it.wait([MAJORITY]), through.set()))
    waiter.start()
    it.record("controller-0", "etcd", Outcome.OK)
    it.record("controller-1", "etcd", Outcome.OK)
    waiter.join(5)
    assert through.is_set()


def test_cancel_opens_nothing() -> None:
    it = board(*ETCD)
    it.cancel()
    with pytest.raises(Cancelled):
        it.wait([MAJORITY])


def test_once_per_cluster_work_goes_to_the_first_and_is_waited_for() -> None:
    it = board(*((host, "rbac") for host in CONTROLLERS))
    assert it.claim("controller-1", "rbac") == "controller-1"
    owner: list[str] = []
    second = threading.Thread(target=lambda: owner.append(it.claim("controller-0", "rbac")))
    second.start()
    it.record("controller-1", "rbac", Outcome.CHANGED)
    second.join(5)
    assert owner == ["controller-1"]


def test_once_per_cluster_work_is_taken_over_when_its_owner_fails() -> None:
    it = board(*((host, "rbac") for host in CONTROLLERS))
    it.claim("controller-1", "rbac")
    it.record("controller-1", "rbac", Outcome.FAILED)
    assert it.claim("controller-0", "rbac") == "controller-0"


def test_who_does_one_piece_of_such_work_does_the_next_and_its_failure_frees_both() -> None:
    it = board(*((host, phase) for host in CONTROLLERS for phase in ("rbac", "dns")))
    it.claim("controller-1", "rbac", ["dns"])
    assert it.claimant("dns") == "controller-1"
    for phase in ("rbac", "dns"):  # what follows a failure is recorded with it
        it.record("controller-1", phase, Outcome.FAILED)
    assert it.claim("controller-0", "rbac", ["dns"]) == "controller-0"
    it.record("controller-0", "rbac", Outcome.OK)
    assert it.claimant("dns") == "controller-0"


def test_who_waits_for_one_phase_is_not_woken_by_another() -> None:
    it = board(*ETCD, ("controller-0", "rbac"))
    looked: list[str] = []
    waits = threading.Event()

    missing = it._missing

    def counted(need: Need) -> str:
        looked.append(need.phase)
        reason = missing(need)
        waits.set()
        return reason

    it._missing = counted  # type: ignore[method-assign]
    thread = threading.Thread(target=it.wait, args=([MAJORITY],))
    thread.start()
    waits.wait(5)
    it.record("controller-0", "rbac", Outcome.OK)
    it.record("controller-1", "rbac", Outcome.OK)
    it.record("controller-0", "etcd", Outcome.OK)
    it.record("controller-1", "etcd", Outcome.OK)
    thread.join(5)
    assert not thread.is_alive()
    assert len(looked) <= 3, "once before, and once for each of etcd's two"
