"""The CIS benchmark's recommendations with the results of a default cluster, as they were measured on one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from from_code.markdown import mark_code, table
from khw.checks import CheckResult, Status
from khw.verify.cis import control_plane, etcd, policies, worker
from khw.verify.cis.profile import NAME, SECTIONS, VERSION, order
from khw.verify.cis.summary import Row, rows, told

MEASURED = Path(__file__).with_name("cis-default.json")
"""
What was said of a cluster of three and three as `khw init` describes it. To write it anew, with one that runs:

    khw verify --profile cis -o json | PYTHONPATH=docs python docs/from_code/cis.py
"""
KEPT = ("name", "check", "subject", "node", "status", "expected", "actual")

HEAD = f"""\
# The {NAME}

`khw verify --profile cis` looks at every recommendation of version {VERSION}: the nodes' in one exchange a node, the
policies by the API's objects and by trying pods (a dry run). Numbers are the benchmark's, the words are khw's. Some
recommendations the benchmark gives to a person to judge; of these khw says what it sees, and *pass* where it is clear.
A recommendation about a static pod's file is judged on the unit file, which stands in its place.

`khw verify --profile cis 1.2 4.2.7` looks at these alone; `-o json` and `-o junit` are for machines; `khw report` has
the last results. Exit code 3 if one fails.

What follows was measured on a default cluster, and the tests on the lab compare: """

CONTROLS = {c.number: c for t in (control_plane, etcd, worker) for c in t.CONTROLS}
MANUAL = {c.number for c in (*CONTROLS.values(), *policies.CONTROLS) if c.manual}


def results() -> list[Row]:
    """Return the measured results."""
    return rows(map(result, json.loads(MEASURED.read_text())))


def result(row: dict[str, Any]) -> CheckResult:
    """Return a row of the JSON as what it was."""
    return CheckResult(**row | {"status": Status(row["status"])})


def words(found: list[Row]) -> dict[str, str]:
    """Return each recommendation's results on all kinds of nodes, by its number."""
    by_number: dict[str, dict[str, None]] = {}
    for row in found:
        by_number.setdefault(row.number, {})[row.word] = None
    return {number: " / ".join(words) for number, words in by_number.items()}


def page() -> str:
    """Return the page."""
    found = results()
    parts = [f"{HEAD}{told(found)}.\n"]
    for section, what in SECTIONS.items():
        mine = [row for row in found if row.section == section]
        cells = [
            (row.number, row.title, "a person" if row.number in MANUAL else "khw", row.word, mark_code(row.seen))
            for row in sorted(mine, key=lambda row: order(row.number))
        ]
        listed = table(("number", "what is asked", "judged by", "result", "seen"), cells)
        parts.append(f"## {section}: {what}\n\n{listed}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    said = json.load(sys.stdin)["checks"]
    lines = (json.dumps({name: row[name] for name in KEPT}) for row in said)
    MEASURED.write_text("[\n" + ",\n".join(lines) + "\n]\n")
