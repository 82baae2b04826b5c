"""Runs the host's tools (ip, nft, podman, haproxy …) for the lab; failure is a LabError with their last words."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from khw.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

SAID = 600  # characters of a failed command's output that an error carries


def run(argv: Sequence[str], *, stdin: str = "", timeout: float = 60, allow_failure: bool = False) -> str:
    """Run a command and return its stdout; LabError names it, its exit code and its last words."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError:
        msg = f"{argv[0]} is not installed"
        raise LabError(msg, hint="khw lab up says which packages the lab needs") from None
    except subprocess.TimeoutExpired:
        msg = f"{' '.join(argv[:3])} did not end within {timeout:.0f} s"
        raise LabError(msg) from None
    if done.returncode and not allow_failure:
        said = (done.stderr.strip() or done.stdout.strip())[-SAID:]
        msg = f"{' '.join(argv[:6])} ended with {done.returncode}: {said}"
        raise LabError(msg)
    return done.stdout


def processes(*words: str) -> list[int]:
    """Return the processes that have each of these words in their command line, zombies not counted."""
    wanted = {word.encode() for word in words}
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            said = (directory / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if wanted <= set(said):
            found.append(int(directory.name))
    return found
