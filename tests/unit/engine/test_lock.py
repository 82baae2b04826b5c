from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from khw.engine.lock import hold, require_free
from khw.errors import LockedError

if TYPE_CHECKING:
    from pathlib import Path

OWNER = """
import sys
from pathlib import Path
from khw.engine.lock import hold, require_free
with hold(Path(sys.argv[1]), "run --phase etcd"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_told_who_holds_the_cluster_and_a_dead_owner_is_none(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    argv = [sys.executable, "-c", OWNER, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=rf"process {owner.pid}, run --phase etcd"), hold(path, "run"):
            pass
        owner.kill()
    with hold(path, "run"):
        assert '"what": "run"' in path.read_text()


def test_looking_whether_the_lock_is_free_writes_nothing_and_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    require_free(path)
    assert not path.exists()
    with hold(path, "run"):
        text = path.read_text()
        with pytest.raises(LockedError, match="process"):
            require_free(path)
        assert path.read_text() == text
    require_free(path)
    with hold(path, "run"):
        pass
