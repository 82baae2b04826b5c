from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from khw.errors import LabError
from khw.lab import layout

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KHW_LAB_HOME", str(tmp_path))
    return tmp_path


def test_the_default_lab_has_its_block_whoever_came_first() -> None:
    assert layout.allocate("first").block == "127.241.0.0/24"
    assert layout.allocate("default").block == "127.240.0.0/24"
    assert layout.allocate("default").endpoint == "http://127.240.0.2:8471"


def test_a_lab_keeps_its_block() -> None:
    first = layout.allocate("a")
    layout.allocate("b")
    assert layout.allocate("a") == first
    assert [lab.name for lab in layout.every()] == ["a", "b"]


def test_a_free_block_is_used_again(home: Path) -> None:
    layout.allocate("a")
    layout.allocate("b")
    (home / "a" / "lab.json").unlink()
    assert layout.allocate("c").octet == 241


def test_no_more_labs_than_blocks() -> None:
    for number in range(layout.LAST_BLOCK - layout.FIRST_BLOCK):
        layout.allocate(f"lab-{number}")
    with pytest.raises(LabError, match="no loopback block is free"):
        layout.allocate("one-more")


@pytest.mark.parametrize("name", ["", "../up", "Big", "a" * 30, "-x", "x y"])
def test_a_name_that_cannot_be_a_path_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="cannot name a lab"):
        layout.allocate(name)


def test_containers_of_different_labs_never_share_a_name() -> None:
    assert layout.Layout("a", 241).container("b-c") != layout.Layout("a-b", 242).container("c")
