"""The results of the last `khw verify`, kept in the workspace for the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from khw.checks import CheckResult, Status
from khw.files import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from khw.verify.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked, when, and what is behind its failures, in the JSON form of `khw verify -o json`."""

    at: datetime
    results: tuple[CheckResult, ...]
    causes: tuple[Mapping[str, Any], ...] = ()


def keep(path: Path, verdict: Verdict) -> None:
    """Write it down, in the place of the one before."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_private(path, json.dumps({"at": now, **verdict.as_dict()}).encode())


def kept(path: Path) -> Verified | None:
    """Return what was kept; None if there is nothing, or nothing that can be read."""
    try:
        data = json.loads(path.read_text())
        results = tuple(CheckResult(**row | {"status": Status(row["status"])}) for row in data["checks"])
        return Verified(datetime.fromisoformat(data["at"]), results, tuple(data["causes"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None
