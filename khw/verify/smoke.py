"""Chapter 13, the smoke test: those checks of the table that the guide's last chapter does by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.verify.rounds import run_checks
from khw.verify.table import CHECKS

if TYPE_CHECKING:
    from khw.checks import CheckResult
    from khw.verify.context import Context


def run(context: Context, *, disruptive: bool = False) -> list[CheckResult]:
    """Run chapter 13; `disruptive` also stops a controller and reboots a worker, and waits for them to come back."""
    results = run_checks(context, [check for check in CHECKS if check.smoke])
    if disruptive:
        from khw.verify.disruption import run as disrupt

        results += disrupt(context)
    return results
