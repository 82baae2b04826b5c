"""Which drill runs: `.khw/<cluster>/drill.json`, written before anything is broken and gone when all is well again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from khw.errors import UsageError
from khw.files import write_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Stage(StrEnum):
    """How far a drill is."""

    STARTING = "starting"  # it may have broken something, or half of it
    RUNNING = "running"
    STOPPING = "stopping"  # its own traces may be gone; the cluster may not be right yet


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """
    A drill that runs.

    `found` are the files of others that were there before: what a learner leaves beside them is taken away.
    """

    drill: str
    values: Mapping[str, str]
    found: tuple[str, ...]
    stage: Stage = Stage.STARTING
    hints: int = 0
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def at(self, stage: Stage) -> State:
        """Return this state at another stage."""
        return replace(self, stage=stage)

    def hinted(self, count: int) -> State:
        """Return this state with so many hints given."""
        return replace(self, hints=count)


def load(path: Path) -> State | None:
    """Return the drill that runs, or None; UsageError if the file is not ours to read."""
    try:
        data = json.loads(path.read_text())
        return State(**{**data, "found": tuple(data["found"]), "stage": Stage(data["stage"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}", hint="khw drill stop NAME puts right what that drill breaks"
        ) from None


def save(path: Path, state: State) -> None:
    """Keep the state, whole or not at all."""
    write_private(path, json.dumps(asdict(state), indent=2).encode())
