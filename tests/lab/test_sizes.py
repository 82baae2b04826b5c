"""The same cluster in every size, from the emulated project and from machines of one's own (make sizes)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from commandline import LAB, is_a_cluster
from project import project
from rack import SHARED, Rack, rack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.lab, pytest.mark.apart, pytest.mark.timeout(900)]

SIZES = [(1, 0), (1, 2), (3, 3), (5, 1)]


@pytest.mark.parametrize(("controllers", "workers"), SIZES)
def test_in_a_project(tmp_path: Path, controllers: int, workers: int) -> None:
    sizes = {"controllers": {"count": controllers}, "workers": {"count": workers}}
    with project(f"{LAB}-size", tmp_path, **sizes) as khw:
        is_a_cluster(khw)


@pytest.mark.parametrize(("controllers", "workers"), SIZES)
def test_on_machines_of_ones_own(tmp_path: Path, controllers: int, workers: int) -> None:
    balancer = "haproxy" if controllers > 1 else "own"
    with rack(f"{LAB}-rack", tmp_path, controllers, workers, balancer=balancer) as khw:
        is_a_cluster(khw)
        if controllers == 3:
            its_address_moves_and_its_routes_stay(khw)


def answers(khw: Rack) -> bool:
    try:
        return khw.kubectl("get", "--raw", "/readyz", "--request-timeout=2s") == "ok"
    except AssertionError:
        return False


def its_address_moves_and_its_routes_stay(khw: Rack) -> None:
    """A controller loses its power, and a worker is switched off and on."""
    holder = next(n for n in ("controller-0", "controller-1", "controller-2") if SHARED in khw.on(n, "ip", "address"))
    khw.switch("stop", holder, "--pull")
    deadline = time.monotonic() + 30
    while not answers(khw):
        assert time.monotonic() < deadline, "the API's address did not move"
    khw.switch("start", holder)
    khw.switch("stop", "worker-1")
    khw.switch("start", "worker-1")
    khw.ok("verify", "--wait", "120")
