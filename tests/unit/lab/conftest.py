"""A lab's API on a loopback port over a fake backend; every exchange is judged by Google's description."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from emulated import Cloud, served
from fakes import FakeBackend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def cloud(tmp_path: Path, backend: FakeBackend) -> Iterator[Cloud]:
    with served(tmp_path, backend) as (clients, found):
        yield clients
    assert not found


@pytest.fixture
def net(cloud: Cloud) -> Cloud:
    """A cloud with a network `net` and in it a subnet `sub`."""
    cloud.network()
    cloud.subnet()
    return cloud
