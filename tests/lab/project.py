"""A project of a test's own for the lab's tests: a lab, and a cluster file for it."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from commandline import KHW, Khw
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@contextmanager
def project(name: str, folder: Path, **sections: Mapping[str, Any]) -> Iterator[Khw]:
    """Start a lab, write a cluster file with these keys in its sections, and take all of it away again."""
    subprocess.run([KHW, "lab", "down", "--name", name], check=True, timeout=120)  # a killed run's leftover
    subprocess.run([KHW, "lab", "up", "--name", name], check=True, timeout=600)
    try:
        khw = Khw(folder)
        khw.ok("init", "--lab", name)
        yaml = YAML()
        file = yaml.load((folder / "khw.yaml").read_text())
        for section, keys in sections.items():
            file.setdefault(section, {}).update(keys)
        yaml.dump(file, folder / "khw.yaml")
        yield khw
        assert "left in the project: nothing" in khw.ok("destroy", "--yes")
    finally:
        subprocess.run([KHW, "lab", "down", "--name", name], check=True, timeout=120)
