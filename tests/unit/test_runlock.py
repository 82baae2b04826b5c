from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

import pytest

from khw.errors import LockedError
from khw.runlock import hold

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event
    from pathlib import Path


def _hold_until(path: Path, held: Event, release: Event) -> None:
    with hold(path, "run --phase etcd"):
        held.set()
        release.wait(30)


def test_a_second_run_is_told_who_holds_the_cluster_and_a_dead_owner_is_none(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    owner = context.Process(target=_hold_until, args=(tmp_path / "lock", held, release))
    owner.start()
    assert held.wait(30)
    with pytest.raises(LockedError, match=rf"process {owner.pid}, run --phase etcd"), hold(tmp_path / "lock", "run"):
        pass
    owner.kill()
    owner.join()
    with hold(tmp_path / "lock", "run"):
        assert str(os.getpid()) in (tmp_path / "lock").read_text()
