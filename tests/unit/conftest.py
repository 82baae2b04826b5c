"""What holds for every unit test."""

from __future__ import annotations

import gc

import pytest

from khw import interrupt

gc.disable()  # until all is collected: what is loaded meanwhile stays


def pytest_collection_finish() -> None:
    """Take what was loaded out of what the garbage collector walks through, and have it look less often."""
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.enable()


@pytest.fixture(autouse=True)
def _nobody_has_pressed_ctrl_c() -> None:
    """A process has one Ctrl-C, and the tests are one process: a press in one test is none in the next."""
    interrupt._presses.reset()
