"""Every command of the README and the docs, run in its order on the cluster of the tests, with what is shown of it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commandline import LAB
from documents import ROOT, Block, Step, blocks, missing, pages

if TYPE_CHECKING:
    from commandline import Khw

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

BIN = Path(sys.executable).parent
# They break and mend the cluster, or verify it again and again: minutes, so that they are for `make documents`
LONG = {
    "a-cluster.md",
    "a-drill.md",
    "add-a-worker.md",
    "certificates.md",
    "find-what-is-wrong.md",
    "losing-a-controller.md",
    "repair-a-host.md",
    "the-chapters.md",
    "upgrade.md",
}
PAGES = [page for page in pages() if any(block.steps for block in blocks(page))]
LEFT_OUT = [
    block for page in PAGES for block in blocks(page) if block.steps and block.kind in {"not run", "ran before"}
]


@dataclass
class Reader:
    """
    Somebody with a home, a full cache and a shell in a folder, who types what a page says.

    What one block exports, the next one has.
    """

    folder: Path
    home: Path
    cache: str
    untrue: list[str] = field(default_factory=list)

    def types(self, step: Step, name: str) -> None:
        command = f"khw ssh {step.node} {shlex.quote(step.command)}" if step.node else step.command
        script = (
            f'. "$STATE" 2>/dev/null\n{command}\ncode=$?\n{{ export -p; echo cd "$PWD"; }} > "$STATE"\nexit $code\n'
        )
        mine = {
            "HOME": str(self.home),
            "KHW_CACHE": self.cache,
            "KHW_LAB": LAB,
            "NO_COLOR": "1",
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "STATE": str(self.home / "state"),
        }
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env={key: value for key, value in os.environ.items() if key != "KUBECONFIG"} | mine,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        where = f"{name} (line {step.line}): {step.command}\n{done.stdout}"
        assert done.returncode == step.exit_code, where
        line = missing(step.shown, done.stdout)
        if line is not None:
            self.untrue.append(f"{line!r} was not printed by {where}")

    def follows(self, block: Block) -> None:
        target = self.folder / block.mark
        if block.kind == "file":
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)
        elif block.kind == "edit":
            rows = block.text.splitlines()
            old = "".join(f"{row[1:]}\n" for row in rows if row[:1] != "+")
            new = "".join(f"{row[1:]}\n" for row in rows if row[:1] != "-")
            text = target.read_text()
            assert text.count(old) == 1, f"{block.name}: {block.mark} does not say once\n{old}"
            target.write_text(text.replace(old, new))
        else:
            for step in block.steps:
                self.types(step, block.name)


@pytest.fixture
def reader(cluster: Khw, tmp_path: Path) -> Reader:
    venv = cluster.folder / ".venv"  # the README's reader stands in a clone that has one
    if not venv.is_symlink():
        venv.symlink_to(BIN.parent)
    return Reader(cluster.folder, tmp_path, cluster.ok("artifacts", "where").strip())


def _param(page: Path) -> object:
    marks = [pytest.mark.apart] if page.name in LONG else []
    return pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks)


@pytest.mark.parametrize("page", [_param(page) for page in PAGES])
def test_a_page_can_be_followed(reader: Reader, page: Path) -> None:
    for block in blocks(page):
        if block not in LEFT_OUT:
            reader.follows(block)
    assert not reader.untrue, "\n\n".join(reader.untrue)


@pytest.mark.parametrize("block", LEFT_OUT, ids=lambda block: block.name)
def test_a_block_that_is_not_run_says_why(block: Block) -> None:
    pytest.skip(block.mark)


def test_the_cluster_is_left_as_it_was_found(cluster: Khw) -> None:
    assert cluster("plan", "--skip", "smoke", "--exit-code").returncode == 0
    cluster.ok("verify", "--wait", "120")
