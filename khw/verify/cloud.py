"""The project (chapters 3 and 8): every resource that the cluster file asks for is there, and is as it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khw.converge.changes import Action
from khw.errors import DiffersError
from khw.verify.check import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from khw.converge.changes import Change
    from khw.verify.context import Context

EXPECTED = "as the cluster file asks"


def resources(context: Context) -> Iterable[Finding]:
    """Compare as `khw plan` does; the machines, which are looked at over SSH, only count as there or not."""
    provider = context.provider
    if context.cluster.spec.provider == "static":
        yield Finding(ok=None, expected="", actual="the provider 'static' makes nothing")
        return
    seen = 0
    good = True
    looks: dict[str, Callable[[], Sequence[Change]]] = {
        "compute": lambda: provider.ensure_compute(check=True),
        "load-balancer": lambda: provider.ensure_load_balancer(context.cluster, check=True),
    }
    for phase, look in looks.items():
        try:
            changes = look()
        except DiffersError as error:
            good = False
            yield from _differing(error, phase)
            continue
        seen += len(changes)
        for change in changes:
            if change.changed:
                good = False
                gone = change.action is Action.CREATED
                hint = f"khw run --phase {phase} --limit operator makes it {'again' if gone else 'so'}"
                actual = "it is gone" if gone else f"its {change.before}"
                yield Finding(
                    ok=False, subject=change.resource, expected=EXPECTED, actual=actual, hint=hint,
                    evidence=f"wanted: {change.after}" if change.after else "",
                )  # fmt: skip
    if good:
        yield Finding(ok=True, expected=f"{seen} resources {EXPECTED}", actual="they are")


def _differing(error: DiffersError, phase: str) -> Iterable[Finding]:
    """Give a finding for each resource that the error names: 'firewall NAME exists and differs: …'."""
    for line in error.message.splitlines():
        kind, _, rest = line.partition(" ")
        name, _, said = rest.partition(" ")
        yield Finding(
            ok=False,
            subject=f"{kind}:{name}",
            expected=EXPECTED,
            actual=said,
            hint=error.hint,
            command=f"khw plan --phase {phase} --limit operator",
        )
