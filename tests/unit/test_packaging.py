from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parents[2]


def setup_cfg() -> ConfigParser:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def test_every_package_ships_and_only_packages_of_khw() -> None:
    listed = set(setup_cfg()["options"]["packages"].split())
    inits = (ROOT / "khw").glob("**/__init__.py")
    linked = (init for name in ("inventory", "certs", "tasks") for init in (ROOT / "khw" / name).glob("**/__init__.py"))
    folders = {init.parent.relative_to(ROOT) for init in (*inits, *linked)}
    assert listed == {".".join(folder.parts) for folder in folders if "modules" not in folder.parts}


def test_the_folders_at_the_top_are_the_packages_inside() -> None:
    for name in ("inventory", "certs", "tasks"):
        link = ROOT / "khw" / name
        assert link.is_symlink()
        assert link.readlink() == Path("..") / name
