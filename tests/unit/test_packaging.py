from __future__ import annotations

import os
import shutil
import subprocess
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


DPKG_QUERY = """\
for package; do :; done
case $package in
    mmdebstrap) echo 'dpkg-query: no packages found' >&2; exit 1 ;;
    conmon) echo 'config-files amd64' ;;
    gcc) echo 'half-installed amd64' ;;
    zstd) printf 'installed amd64\\ninstalled arm64\\n' ;;
    libc6-dev) printf 'not-installed amd64\\ninstalled amd64\\ninstalled arm64\\n' ;;
    libseccomp-dev) printf 'not-installed amd64\\ninstalled arm64\\n' ;;
    ca-certificates) echo 'installed all' ;;
    *) echo 'installed amd64' ;;
esac
"""
"""What a machine of amd64 says to which arm64 was added: a line an architecture."""


def test_prepare_installs_what_this_machine_itself_has_not_whatever_another_architecture_has(tmp_path: Path) -> None:
    tools = {
        "dpkg": "echo amd64",
        "dpkg-query": DPKG_QUERY,
        "apt-get": f'echo "$*" >>{tmp_path}/asked',
        "sudo": 'exec "$@"',
        "python": "",
    }
    for name, script in tools.items():
        tool = tmp_path / ".venv" / "bin" / name
        tool.parent.mkdir(parents=True, exist_ok=True)
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
    (tmp_path / "setup.cfg").touch()
    os.utime(tmp_path / "setup.cfg", (0, 0))
    (tmp_path / ".venv" / ".prepared").touch()  # newer than that: the environment is as it should be
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(ROOT / "scripts" / "prepare.sh", tmp_path / "scripts")
    path = f"{tmp_path}/.venv/bin:{os.environ['PATH']}"
    done = subprocess.run(["bash", script], env={"PATH": path}, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "prepare: installing conmon mmdebstrap gcc libseccomp-dev\n"
    update, install = (tmp_path / "asked").read_text().splitlines()
    assert update.startswith("update")
    assert install.endswith("--no-install-recommends conmon mmdebstrap gcc libseccomp-dev")
