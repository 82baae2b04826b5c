"""
What crosses the operator's line in a fresh install, and how long that takes over a slow one: with and without relay.

    python -m benchmarks.line [--mbits 20] [--distance 50 150]

The proxy counts the bytes, not khw. At 20 Mbit/s an install without relay takes five minutes and more.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.distance import far_away
from benchmarks.ground import PROJECT, Ground
from benchmarks.tree import FIRST, LAST

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT = 3600.0
ROOT = PROJECT / "build" / "bench-line"
POLICIES = ("auto", "never")


def main() -> int:
    """Parse, measure, print a row for each install."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.line", description="Artifacts over a slow line.")
    parser.add_argument("--mbits", type=int, default=20, help="of the line that all share (default 20)")
    parser.add_argument("--distance", type=int, nargs="*", default=[50, 150], help="ms of round trip (default 50 150)")
    options = parser.parse_args()
    ground = Ground(ROOT)
    ground.raise_lab()
    file = ground.cluster_file
    before = file.read_text()
    try:
        for round_trip in options.distance:
            for policy in POLICIES:
                file.write_text(f"{before}\nartifacts:\n  relay: {policy}\n")
                ground.renew()
                ground.write_inventories()
                sys.stdout.write(_install(ground, policy, round_trip, options.mbits))
                sys.stdout.flush()
    finally:
        file.write_text(before)
        ground.end_lab()
    return 0


def _install(ground: Ground, policy: str, round_trip: int, mbits: int) -> str:
    command = (*ground.khw, "run", "--from", FIRST, "--until", LAST, "-o", "json")
    with far_away(ground.addresses(), round_trip, mbits) as crossed:
        began = time.monotonic()
        report = _report(command)
        seconds = time.monotonic() - began
    return (
        f"relay {policy:<8}{round_trip:>4} ms{mbits:>5} Mbit/s{seconds:>8.1f} s"
        f"{crossed.to / 1e6:>8.1f} MB over the line{report['bytes_relayed'] / 1e6:>8.1f} MB from node to node\n"
    )


def _report(command: Sequence[str]) -> dict[str, float]:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT)
    report: dict[str, float] = json.loads(done.stdout)
    return report


if __name__ == "__main__":
    sys.exit(main())
