"""A command under watch: how long it took, and the most memory, threads and descriptors that it had."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.ground import PROJECT

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOK = 0.05  # seconds between two looks
LIMIT = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """
    What a command took; `memory` is the most that was resident, in MB, `cpu` seconds of its and its children's.

    The kernel keeps the peak of the memory; threads and descriptors are the most of what was seen every 50 ms.
    """

    code: int
    out: bytes
    seconds: float
    cpu: float
    memory: float
    threads: int
    descriptors: int


def watch(command: Sequence[str], directory: Path) -> Watched:
    """Run the command to its end; its standard error goes to `directory`/crowd.log."""
    began = time.monotonic()
    memory = threads = descriptors = 0
    with (
        (directory / "crowd.log").open("wb") as log,
        (directory / "crowd.out").open("w+b") as out,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, cwd=PROJECT) as process,
    ):
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            if time.monotonic() - began > LIMIT:
                process.kill()
            with suppress(OSError, StopIteration):
                memory = _peak(process.pid)
                threads = max(threads, _count(process.pid, "task"))
                descriptors = max(descriptors, _count(process.pid, "fd"))
            time.sleep(LOOK)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        return Watched(
            code=process.returncode,
            out=out.read(),
            seconds=seconds,
            cpu=usage.ru_utime + usage.ru_stime,
            memory=memory / 1e6,
            threads=threads,
            descriptors=descriptors,
        )


def _peak(process: int) -> int:
    """Return the most bytes that were resident (the children's would be in `ru_maxrss`, too)."""
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))


def _count(process: int, what: str) -> int:
    return sum(1 for _ in Path(f"/proc/{process}/{what}").iterdir())
