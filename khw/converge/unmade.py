"""A machine that is not made yet, as a plan sees it: an ordinary Linux with nothing of Kubernetes on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from khw.cluster.model import Facts
from khw.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from khw.ssh.client import Cargo

ABSENT: Mapping[str, Any] = {"kind": "absent"}
STATES: Mapping[str, Mapping[str, Any]] = {
    "file": ABSENT,
    "directory": ABSENT,
    "absent": ABSENT,
    "image": {"present": False, "sha256": "", "seen": True},
    "unit": {"file": ABSENT, "active": "inactive", "sub": "dead", "enabled": False, "started_with": {}, "stale": []},
    "wait": {"true": False},
    "manifest": {"code": 2, "out": "", "err": "", "new": True},
    "require": {"code": 0, "out": "", "err": ""},
    # Its image may have the one and be so that the other holds already.
    "package": {"present": False, "guessed": True},
    "command": {"code": 1, "out": "", "err": "", "guessed": True},
}
"""What a probe of each kind answers there."""


class UnmadeMachine:
    """What `khw.converge.apply` looks at in place of an agent; there is nothing to act on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.facts = Facts()
        self.distance = 0.0

    def probe(self, specs: Sequence[Mapping[str, Any]], *, record: bool = True) -> list[dict[str, Any]]:
        """Return the states that these resources will have when the machine has booted."""
        del record
        return [dict(STATES[spec["kind"]]) for spec in specs]

    def act(
        self,
        ops: Sequence[Mapping[str, Any]],
        payloads: Sequence[Cargo] = (),
        *,
        on_done: Callable[[dict[str, Any]], None],
        on_bytes: Callable[[int], None] | None = None,
        relay: Mapping[str, str] | None = None,
    ) -> None:
        """Fail: only a plan meets it."""
        del ops, payloads, on_done, on_bytes, relay
        raise StepError("its machine does not exist", node=self.name, hint="khw run --phase compute makes it")
