"""The shell that takes away what the drills of etcd leave, run with stubs in the place of what it calls."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from fakes import FakeAgent, cluster

from khw.drills import etcd
from khw.drills.ground import Ground

if TYPE_CHECKING:
    from pathlib import Path


def test_a_small_disk_that_was_put_above_another_is_taken_away_with_it(tmp_path: Path) -> None:
    """As after a drill that was repaired and broken again: umount takes one away."""
    mounts = tmp_path / "mounts"
    mounts.mkdir()
    for name in ("small", "another"):
        (mounts / name).touch()
    stubs = {
        "mountpoint": f'set -- {mounts}/*; test -e "$1"',
        "umount": f'set -- {mounts}/*; exec /bin/rm "$1"',
        "systemctl": "exit 0",
        "rm": "exit 0",
    }
    for name, text in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

    def answer(argv: tuple[str, ...]) -> str:
        done = subprocess.run(["/bin/sh", *argv[1:]], env={"PATH": str(tmp_path)}, timeout=10, check=True)
        return str(done.returncode)

    context = SimpleNamespace(cluster=cluster(), agents={"controller-2": FakeAgent(answer)}, unreachable={})
    etcd.DISK.mend(Ground(context=cast("Any", context), folder=tmp_path), {"last": "controller-2"})
    assert list(mounts.iterdir()) == []
