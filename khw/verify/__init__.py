"""
khw.verify: whether the cluster is right, and if not, where and why.

    table     every check, on one screen
    check     what a check is
    rounds    how they are run: each node in one exchange, all at once
    bench     the test pods
    smoke     chapter 13: the checks of the table that belong to it, and those that break things on purpose
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.verify.context import Context

if TYPE_CHECKING:
    from khw.checks import CheckResult

__all__ = ["Context", "run"]


def run(context: Context) -> list[CheckResult]:
    """Run every check of the table (khw verify)."""
    from khw.verify.rounds import run_checks
    from khw.verify.table import CHECKS

    return run_checks(context, CHECKS)
