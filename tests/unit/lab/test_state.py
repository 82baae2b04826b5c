from __future__ import annotations

import pytest

from khw.errors import LabError
from khw.lab.state import Entry, State


def test_what_was_saved_is_there_again_and_private(tmp_path):
    path = tmp_path / "state.json"
    state = State(path)
    state.entries["k"] = Entry("networks", "global", "n", "k", {"name": "n"}, {"secret": 1}, ready=True)
    state.save()
    assert path.stat().st_mode & 0o777 == 0o600
    assert State(path).entries == state.entries


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 99, "entries": [], "jobs": []}'])
def test_a_file_that_is_no_state_says_what_to_do(tmp_path, text):
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(LabError) as caught:
        State(path)
    assert str(path) in caught.value.message
    assert "khw lab down" in caught.value.hint
