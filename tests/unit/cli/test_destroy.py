from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from fakes import OWN_MACHINES

from khw.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("how", ["--check", "--yes"])
def test_of_machines_of_ones_own_it_is_said_that_they_and_the_cluster_stay(tmp_path: Path, how: str) -> None:
    """And the next `khw run` is not told that the cluster was destroyed."""
    (tmp_path / "khw.yaml").write_text(OWN_MACHINES)
    result = CliRunner().invoke(main, ["-f", str(tmp_path / "khw.yaml"), "destroy", how])
    assert (result.exit_code, result.stdout) == (
        0,
        "nothing is removed: khw did not make c, w, and the cluster goes on there; install them anew\n",
    )
    assert not list(tmp_path.glob(".khw/mine/runs/*"))
