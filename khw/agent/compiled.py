"""
The agent's own modules, compiled, kept for the next agent on this node: compiling them is a third of its start.

The bootstrap (`khw.agent.bundle`) leaves here what it had to compile. It is kept where the run may write anyway, in
/run, which no reboot outlives, and is taken up only for the same sources, byte for byte, and the same Python.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import sys


def keep() -> None:
    """Keep what was compiled for this agent, if it was; that there is no room for it is no matter."""
    package = sys.modules["khw.agent"]
    path, kept = package.__dict__.pop("new", ("", None))
    if not path:
        return
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            marshal.dump(kept, file)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
