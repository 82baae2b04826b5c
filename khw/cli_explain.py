"""`khw explain` and `khw export`: what everything is and why, and how it is done by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from khw.errors import UsageError

if TYPE_CHECKING:
    from khw.explain.guide import Guide
    from khw.stepping import Stepper


@click.command()
@click.argument("topic", required=False)
@click.option("--phase", "phase_name", help="The phase of this name, where TOPIC could be something else too.")
@click.option("--host", help="Only this host: a node, or `operator`.")
@click.option("--shell", "as_shell", is_flag=True, help="Print the phase as a script that does it by hand.")
@click.option("--offline", is_flag=True, help="Ask no node what it is: take an ordinary one.")
@click.pass_obj
def explain(  # noqa: PLR0913 - one parameter an option
    file: Path, topic: str | None, phase_name: str | None, host: str | None, as_shell: bool, offline: bool
) -> None:
    """
    Say what TOPIC is, why it is there, and what breaks without it; show it on this cluster, and by hand.

    TOPIC is a phase, a file on a node, a flag or a field, a certificate, a unit or a check.
    """
    from khw.phases import select

    name = phase_name or (topic if as_shell else None)
    if as_shell:
        if not name:
            raise UsageError("--shell prints a phase, and none was named", hint="khw explain --phase etcd --shell")
        (phase,) = select([name])
        click.echo(_guide(file, offline=offline).shell_for(phase, host), nl=False)
        return


def _guide(file: Path, *, offline: bool) -> Guide:
    from khw.explain.opened import open_guide
    from khw.session import open_session

    return open_guide(open_session(file, check=True), offline=offline, tell=lambda text: click.echo(text, err=True))


def stepper(file: Path) -> Stepper:
    """Return what `khw run --step` asks with; a phase's shell is rendered only when it is asked for."""
    from khw.explain.topics import about_phase
    from khw.stepping import Stepper

    return Stepper(
        describe=about_phase,
        script=lambda phase: _guide(file, offline=False).shell(phase),
    )
