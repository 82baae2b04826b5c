from __future__ import annotations

import subprocess
import sys

import pytest

from khw.engine import bounds


def test_lanes_follow_the_places_at_work() -> None:
    assert bounds.lanes(parallel=64, leaders=4) == 256


def test_there_is_always_a_lane_more_than_hosts_that_others_wait_for() -> None:
    assert bounds.lanes(parallel=1, leaders=6) == 7


@pytest.mark.parametrize(
    ("soft", "hard", "then"),
    [
        (200, 4096, 228),  # raised to what is needed: 100 connections, 128 beside
        (200, 220, 220),  # as far as the system lets it
        (1024, 4096, 1024),  # never lowered
    ],
)
def test_room_is_made_for_descriptors(soft: int, hard: int, then: int) -> None:
    code = (
        "import resource; from khw.engine.bounds import make_room;"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard})); make_room(100);"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [str(then), str(hard)]
