"""docs/drills.md is what the table of drills says."""

from __future__ import annotations

from pathlib import Path

from khw.drills.page import text
from khw.drills.table import DRILLS

PAGE = Path(__file__).parents[3] / "docs" / "drills.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == text(), "python -m khw.drills.page writes it anew"


def test_every_drill_is_on_the_page_with_its_hints_folded() -> None:
    page = text()
    for row in DRILLS:
        section = page.partition(f"## {row.name}\n")[2].partition("\n## ")[0]
        told, _, folded = section.partition("<details>")
        assert row.repair[0].split("{")[0].split()[0] in folded
        assert "The whole repair" not in told
