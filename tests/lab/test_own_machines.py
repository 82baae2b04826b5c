"""One machine of one's own, with nothing around it, becomes a whole cluster (docs/how-to/own-machines.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from commandline import LAB
from rack import rack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


def test_one_machine_of_ones_own_is_a_whole_cluster(tmp_path: Path) -> None:
    with rack(f"{LAB}-own", tmp_path, controllers=1, workers=0) as khw:
        assert khw.json("run")["ok"]
        khw.ok("verify", "--wait", "60")
        assert khw.json("run")["changed"] == 0
