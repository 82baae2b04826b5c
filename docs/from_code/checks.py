"""The checks of `khw verify`, from the table that is run and the book of `khw explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from from_code.markdown import definitions, mark_code, table, what_for
from from_code.told import told
from khw.explain.book import chapter_of
from khw.verify.check import ROUTED, Check, ClusterCheck, NodeCheck
from khw.verify.table import CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """\
# Checks

`khw verify` runs all of them; those marked *smoke* are chapter 13, with which `khw run` ends, and which `khw smoke`
runs by itself. A check that cannot be right for a known reason (its node does not answer, its test pod is not there) is
`skipped`, and says so: one cause is not told as forty errors. Exit code 0 only if none failed, 3 otherwise.
"""

TAIL = """\
## What each is for

By the names that results have: a check may give several. `khw explain NAME` says the same.
"""


def page() -> str:
    """Return the page."""
    rows = [(check.name, _where(check), "smoke" if check.smoke else "", _expects(check)) for check in CHECKS]
    asked = table(("check", "asked", "", "what it expects"), rows)
    return f"{HEAD}\n{asked}\n\n{TAIL}\n{definitions(_entries())}\n"


def _where(check: Check) -> str:
    if isinstance(check, NodeCheck):
        if check.roles == ROUTED:
            return "machines of one's own"
        return " and ".join(f"{role}s" for role in sorted(check.roles))
    return "from the operator's side" if isinstance(check, ClusterCheck) else "from pods on each worker"


def _expects(check: Check) -> str:
    return what_for(check.judge if isinstance(check, NodeCheck) else check.look)


def _entries() -> Iterator[tuple[str, str]]:
    for name, entry in chapter_of("checks").items():
        rows = [told(entry)]
        if entry.likely:
            rows.append(f"*Likely, when it fails:* {mark_code(' '.join(entry.likely.split()))}")
        if entry.show:
            rows.append(f"*Shown by:* `{' '.join(entry.show.split())}`")
        yield name, "\n\n".join(rows)
