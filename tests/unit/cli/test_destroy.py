from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from khw.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

OWN = """\
name: mine
provider: static
static:
  api_address: 192.0.2.10
  nodes:
    - {name: c, role: controller, address: 192.0.2.10}
    - {name: w, role: worker, address: 192.0.2.20, pod_cidr: 10.200.0.0/24}
"""


@pytest.mark.parametrize("how", ["--check", "--yes"])
def test_of_machines_of_ones_own_it_is_said_that_they_and_the_cluster_stay(tmp_path: Path, how: str) -> None:
    """And the next `khw run` is not told that the cluster was destroyed."""
    (tmp_path / "khw.yaml").write_text(OWN)
    result = CliRunner().invoke(main, ["-f", str(tmp_path / "khw.yaml"), "destroy", how])
    assert (result.exit_code, result.stdout) == (
        0,
        "nothing is removed: khw did not make c, w, and the cluster goes on there; install them anew\n",
    )
    assert not list(tmp_path.glob(".khw/mine/runs/*"))
