"""One machine of arm64, emulated, becomes a whole cluster (make arm64; an hour or more)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from commandline import LAB
from vm import Machine, estate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.lab, pytest.mark.apart, pytest.mark.timeout(7200)]

MACHINE = Machine(name="controller-0", address="10.240.0.10", pod_cidr="10.200.0.0/24", architecture="arm64")


def test_one_machine_of_arm64_is_a_whole_cluster(tmp_path: Path) -> None:
    with estate(f"{LAB}-arm64", tmp_path, MACHINE, slowness=10) as khw:
        assert khw.json("run")["ok"]
        khw.ok("verify", "--wait", "600")
        assert khw.on("controller-0", "uname", "--machine").strip() == "aarch64"
        assert khw.json("run")["changed"] == 0
