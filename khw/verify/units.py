"""systemd units: each of a role's is active and enabled. What is in its unit file is the check `file`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.converge.resources import Unit
from khw.ssh.connection import RemoteCommand
from khw.verify.check import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from khw.cluster.model import Node
    from khw.ssh.connection import Completed
    from khw.verify.context import Context

PROPERTIES = "Id,LoadState,ActiveState,SubState,UnitFileState,Result,NRestarts"
EXPECTED = "active, enabled"
JOURNAL_LINES = 6


def units(node: Node, context: Context) -> tuple[Unit, ...]:
    """Return the units that the phases give this node."""
    from khw.engine.phases import PHASES

    tasks = (phase.task for phase in PHASES if phase.task and phase.on(node) and not phase.once)
    wanted = (r for task in tasks for r in task(context.seen(node), context.cluster, context.pki))
    return tuple(resource for resource in wanted if isinstance(resource, Unit))


def ask(node: Node, context: Context) -> Sequence[RemoteCommand]:
    """Ask for the state of every unit, and the last that each said."""
    wanted = units(node, context)
    names = [unit.name for unit in wanted]
    return (
        RemoteCommand(("systemctl", "show", f"--property={PROPERTIES}", *names)),
        *(
            RemoteCommand(("journalctl", f"--unit={name}", f"--lines={JOURNAL_LINES}", "--no-pager", "--output=cat"))
            for name in names
        ),
    )


def judge(node: Node, context: Context, answers: Sequence[Completed]) -> Iterable[Finding]:
    """Give one finding a unit; a unit that does not run says its last words."""
    shown, *journals = answers
    states = parse_show(shown.out)
    for unit, journal in zip(units(node, context), journals, strict=True):
        state = states.get(unit.name, {})
        problems = list(_state_problems(state))
        yield Finding(
            ok=not problems,
            subject=unit.name,
            expected=EXPECTED,
            actual=", ".join(problems) or f"active ({state.get('SubState')}), enabled",
            evidence="" if state.get("ActiveState") == "active" else journal.out.strip(),
            hint=f"khw run --limit {node.name} starts it again",
        )


def parse_show(text: str) -> dict[str, dict[str, str]]:
    """Return the blocks that `systemctl show` prints, by unit."""
    blocks = (dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.split("\n\n"))
    return {block["Id"]: block for block in blocks if "Id" in block}


def _state_problems(state: dict[str, str]) -> Iterable[str]:
    active, sub = state.get("ActiveState", "unknown"), state.get("SubState", "unknown")
    if active != "active":
        result = state.get("Result", "success")
        yield f"{active} ({sub})" if result == "success" else f"{active} ({sub}, {result})"
    if state.get("UnitFileState") != "enabled":
        yield state.get("UnitFileState") or "not enabled"
