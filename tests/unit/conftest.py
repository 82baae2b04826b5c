"""What holds for every unit test."""

from __future__ import annotations

import pytest

from khw import interrupt


@pytest.fixture(autouse=True)
def _nobody_has_pressed_ctrl_c() -> None:
    """A process has one Ctrl-C, and the tests are one process: a press in one test is none in the next."""
    interrupt._presses.reset()
