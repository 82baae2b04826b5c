"""Chapter 13, the smoke test: those checks of the table that the guide's last chapter does by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.checks import CheckResult, Status
from khw.verify.rounds import run_checks
from khw.verify.table import CHECKS

if TYPE_CHECKING:
    from khw.verify.context import Context


def run(context: Context, *, disruptive: bool = False) -> list[CheckResult]:
    """Run chapter 13; `disruptive` also stops a controller and reboots a worker, and waits for them to come back."""
    mine = [check for check in CHECKS if check.smoke]
    results = run_checks(context, mine)
    if disruptive:
        from khw.verify.disruption import run as disrupt

        results += disrupt(context)
        results.append(_again(run_checks(context, mine)))
    return results


def _again(results: list[CheckResult]) -> CheckResult:
    """Sum up the smoke test after the disruptions."""
    failed = [f"{result.name} {result.node}".rstrip() for result in results if result.status is Status.FAILED]
    return CheckResult(
        name="all of it once more",
        node="",
        status=Status.FAILED if failed else Status.PASSED,
        expected="after that, everything works as before",
        actual=f"failed: {', '.join(failed)}" if failed else f"{len(results)} checks passed",
        hint="khw verify" if failed else "",
        seconds=max((result.seconds for result in results), default=0.0),
    )
