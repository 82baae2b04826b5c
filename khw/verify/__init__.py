"""
khw.verify: whether the cluster is right, and if not, where and why.

    table     every check, on one screen
    profiles  that table, or the CIS benchmark's (cis/)
    check     what a check is
    rounds    how they are run: each node in one exchange, all at once
    causes    which thing needs which: failed checks, grouped under their root causes
    verdict   both together, as JSON and JUnit
    bench     the test pods
    smoke     chapter 13: the checks of the table that belong to it, and those that break things on purpose
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.verify.context import Context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from khw.verify.check import Check
    from khw.verify.verdict import Verdict

__all__ = ["Context", "run"]


def run(context: Context, checks: Sequence[Check] | None = None, *, diagnosed: bool = True) -> Verdict:
    """Run these checks, or every check of the table (khw verify); `diagnosed`: say what is behind failures."""
    from khw.verify.causes import diagnose
    from khw.verify.rounds import run_checks
    from khw.verify.table import CHECKS
    from khw.verify.verdict import Verdict

    results = run_checks(context, CHECKS if checks is None else checks)
    return Verdict(tuple(results), tuple(diagnose(results, context.cluster)) if diagnosed else ())
