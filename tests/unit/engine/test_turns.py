"""Only one controller at a time is disturbed, and only while the others carry the cluster."""

from __future__ import annotations

import threading
import time

import pytest

from khw.cluster.spec import Role
from khw.converge.changes import Action, Change
from khw.engine.gates import Board, Cancelled, members_of
from khw.engine.turns import Health, Verdict, disturbs, judge, turn
from khw.errors import StepError

NAMES = ("controller-0", "controller-1", "controller-2")
ASK = ("true",)
ETCD = Health(service="etcd", mine=ASK, others=(ASK, ASK), needed=2, joins="command:etcd-member")
API = Health(service="the API server", mine=ASK, others=(ASK, ASK), needed=1)
ALONE = Health(service="etcd", mine=ASK, others=(), needed=0)


@pytest.fixture
def board() -> Board:
    return Board(members_of((name, Role.CONTROLLER) for name in NAMES), frozenset())


def change(resource: str, action: Action) -> Change:
    return Change(resource=resource, action=action)


def test_a_restart_disturbs_and_a_first_installation_does_not() -> None:
    assert disturbs(ETCD, [change("unit:etcd.service", Action.RESTARTED)], lives=True)
    assert not disturbs(ETCD, [change("unit:etcd.service", Action.CREATED)], lives=True)
    assert not disturbs(ETCD, [change("unit:etcd.service", Action.UNCHANGED)], lives=True)


def test_a_change_of_members_disturbs_what_lives() -> None:
    joins = [change("command:etcd-member", Action.RAN)]
    assert disturbs(ETCD, joins, lives=True)
    assert not disturbs(ETCD, joins, lives=False)


@pytest.mark.parametrize(
    ("health", "well", "joining", "verdict"),
    [
        (ETCD, [True, True, True], False, Verdict.SAFE),
        (ETCD, [True, True, False], False, Verdict.NOT_YET),  # it is one of the two that are left
        (ETCD, [False, True, True], False, Verdict.SAFE),
        (ETCD, [False, False, False], False, Verdict.FREE),  # no quorum: nothing to lose
        (ETCD, [False, False, False], True, Verdict.NOT_YET),  # alone it could only start another cluster
        (ETCD, [False, True, True], True, Verdict.SAFE),
        (ETCD, [False, True, False], True, Verdict.SAFE),  # one is well: a majority of what members there are
        (API, [True, True, False], False, Verdict.SAFE),
        (API, [True, False, False], False, Verdict.NOT_YET),
        (ALONE, [True], False, Verdict.SAFE),
    ],
)
def test_what_the_answers_mean(health: Health, well: list[bool], joining: bool, verdict: Verdict) -> None:
    assert judge(health, well, joining=joining) is verdict


def test_never_two_at_a_time(board: Board) -> None:
    inside: list[str] = []
    most: list[int] = []

    def disturb(host: str) -> None:
        with turn(board, host, ETCD, lambda: [True, True, True], joining=False, timeout=10):
            inside.append(host)
            most.append(len(inside))
            time.sleep(0.01)  # long enough for another to come in, if it could
            inside.remove(host)

    threads = [threading.Thread(target=disturb, args=(name,)) for name in NAMES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == [1, 1, 1]


def test_a_sick_host_is_mended_before_a_well_one_is_disturbed(board: Board) -> None:
    mended = threading.Event()
    order: list[str] = []

    def well_one() -> None:
        with turn(board, NAMES[0], ETCD, lambda: [True, mended.is_set(), True], joining=False, timeout=10):
            order.append("well")

    waiter = threading.Thread(target=well_one)
    waiter.start()
    with turn(board, NAMES[1], ETCD, lambda: [False, True, True], joining=False, timeout=10):
        order.append("sick")
        mended.set()
    waiter.join(10)
    assert order == ["sick", "well"]


def test_who_would_take_the_quorum_away_is_stopped_and_told(board: Board) -> None:
    with (
        pytest.raises(StepError, match="1 of 2 others are well, expected at least 2") as caught,
        turn(board, NAMES[0], ETCD, lambda: [True, True, False], joining=False, timeout=0),
    ):
        pytest.fail("it was let in")
    assert caught.value.node == NAMES[0]
    board.take_turn(NAMES[1])  # the turn was given back


def test_a_turn_is_given_back_after_a_failure(board: Board) -> None:
    with (
        pytest.raises(StepError, match="broken"),
        turn(board, NAMES[0], ETCD, lambda: [True, True, True], joining=False, timeout=1),
    ):
        raise StepError("broken")
    board.take_turn(NAMES[1])


def test_ctrl_c_ends_the_wait_for_a_turn(board: Board) -> None:
    board.take_turn(NAMES[1])
    board.cancel()
    with (
        pytest.raises(Cancelled),
        turn(board, NAMES[0], ETCD, lambda: [True, True, True], joining=False, timeout=10),
    ):
        pytest.fail("it was let in")
