"""A lab of the tests' own, and a cluster in it: made once, used by all, gone at the end, also after a failure."""

from __future__ import annotations

import subprocess
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import pytest
from commandline import KHW, LAB, FirstPlan, Khw

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def lab_name() -> Iterator[str]:
    subprocess.run([KHW, "lab", "down", "--name", LAB], check=True, timeout=120)  # a killed run's leftover
    subprocess.run([KHW, "lab", "up", "--name", LAB], check=True, timeout=600)
    yield LAB
    subprocess.run([KHW, "lab", "down", "--name", LAB], check=True, timeout=120)


@pytest.fixture(scope="session")
def khw(lab_name: str, tmp_path_factory: pytest.TempPathFactory) -> Khw:
    it = Khw(tmp_path_factory.mktemp("cluster"))
    it.ok("init", "--lab", lab_name)
    return it


@pytest.fixture(scope="session")
def first_plan(khw: Khw) -> FirstPlan:
    """What `khw plan` said before there was any machine."""
    report = khw.json("plan")
    files = sorted(str(file.relative_to(khw.folder)) for file in khw.folder.rglob("*"))
    return FirstPlan(report, files, khw.ok("destroy", "--check"))


@pytest.fixture(scope="session")
def first_run(khw: Khw, first_plan: FirstPlan) -> Any:
    """The report of the run that made the cluster, after its plan."""
    assert first_plan.report["ok"]
    return khw.json("run")


MATRIX = pytest.StashKey[list[tuple[str, ...]]]()
DRILLS = pytest.StashKey[list[tuple[str, ...]]]()
TABLES = {"fault matrix": MATRIX, "drills": DRILLS}


@pytest.fixture(scope="session")
def matrix(request: pytest.FixtureRequest) -> list[tuple[str, ...]]:
    """Rows of the fault matrix: fault, moment, how it ended, seconds."""
    return request.config.stash.setdefault(MATRIX, [])


@pytest.fixture(scope="session")
def drills(request: pytest.FixtureRequest) -> list[tuple[str, ...]]:
    """Rows of the drills: name, the seconds of each of its steps and of all, the root cause that was seen."""
    return request.config.stash.setdefault(DRILLS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the tables."""
    for title, key in TABLES.items():
        rows = config.stash.get(key, [])
        if rows:
            terminalreporter.section(title)
            widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
            for row in rows:
                cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
                terminalreporter.write_line("  ".join(cells).rstrip())


@pytest.fixture
def cluster(khw: Khw, first_run: Any) -> Khw:
    assert first_run["ok"]
    return khw
