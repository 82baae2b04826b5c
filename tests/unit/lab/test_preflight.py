from __future__ import annotations

from typing import TYPE_CHECKING

from khw.lab import preflight

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_limits_are_raised_where_they_are_too_low_and_never_lowered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "INOTIFY", tmp_path)
    (tmp_path / "max_user_instances").write_text("128\n")
    (tmp_path / "max_user_watches").write_text("1000000\n")
    assert preflight.raise_limits() == ["fs.inotify.max_user_instances raised to 8192"]
    assert (tmp_path / "max_user_instances").read_text() == "8192"
    assert (tmp_path / "max_user_watches").read_text() == "1000000\n"
    assert preflight.raise_limits() == []
