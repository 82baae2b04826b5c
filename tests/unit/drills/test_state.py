"""The drill that runs is known whatever happens to the process that started it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from khw.drills.state import Stage, State, load, save
from khw.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

STATE = State(drill="pod-route", values={"worker": "worker-0"}, found=("worker-0:/etc/cni/net.d/10-bridge.conf",))


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    save(tmp_path / "drill.json", STATE.at(Stage.RUNNING).hinted(2))
    seen = load(tmp_path / "drill.json")
    assert seen is not None
    assert (seen.drill, seen.stage, seen.hints, seen.found) == ("pod-route", Stage.RUNNING, 2, STATE.found)
    assert (tmp_path / "drill.json").stat().st_mode & 0o777 == 0o600


def test_without_a_file_no_drill_runs(tmp_path: Path) -> None:
    assert load(tmp_path / "drill.json") is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"drill": "x", "stage": "asleep", "values": {}, "found": []}'])
def test_a_file_that_is_not_ours_is_named_with_the_way_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "drill.json").write_text(text)
    with pytest.raises(UsageError) as error:
        load(tmp_path / "drill.json")
    assert "khw drill stop NAME" in error.value.hint
