"""The checks of `khw verify`, from the table that is run."""

from __future__ import annotations

from from_code.markdown import table, what_for
from khw.verify.check import Check, ClusterCheck, NodeCheck
from khw.verify.table import CHECKS

HEAD = """\
# Checks

`khw verify` runs all of them; those marked *smoke* are chapter 13, with which `khw run` ends, and which `khw smoke`
runs by itself. A check that cannot be right for a known reason (its node does not answer, its test pod is not there) is
`skipped`, and says so: one cause is not told as forty errors. Exit code 0 only if none failed, 3 otherwise.
"""


def page() -> str:
    """Return the page."""
    rows = [(check.name, _where(check), "smoke" if check.smoke else "", _expects(check)) for check in CHECKS]
    return f"{HEAD}\n{table(('check', 'asked', '', 'what it expects'), rows)}\n"


def _where(check: Check) -> str:
    if isinstance(check, NodeCheck):
        return " and ".join(f"{role}s" for role in sorted(check.roles))
    return "from the operator's side" if isinstance(check, ClusterCheck) else "from pods on each worker"


def _expects(check: Check) -> str:
    return what_for(check.judge if isinstance(check, NodeCheck) else check.look)
