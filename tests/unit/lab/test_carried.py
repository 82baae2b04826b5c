from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from khw.errors import LabError
from khw.lab import carried
from khw.lab.image import recipe


class Podman:
    """Says that it loaded `reference`, and keeps what it was told."""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        self.told: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str], **_: object) -> str:
        self.told.append(argv)
        return f"Loaded image: {self.reference}\n" if argv[1] == "load" else ""


def test_the_image_of_this_khw_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    podman = Podman(recipe("debian-12").reference)
    monkeypatch.setattr(carried, "run", podman)
    carried.take("debian-12", Path("debian-12.tar"))
    assert podman.told == [["podman", "load", "--quiet", "--input=debian-12.tar"]]


def test_the_image_of_another_khw_is_given_back_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    podman = Podman("localhost/khw-lab:debian-12-000000000000")
    monkeypatch.setattr(carried, "run", podman)
    with pytest.raises(LabError, match=r"another khw's: expected .*, seen .*000000000000"):
        carried.take("debian-12", Path("debian-12.tar"))
    assert podman.told[-1] == ["podman", "rmi", podman.reference]
