"""`khw explain` and `khw export`: what everything is and why, and how it is done by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from khw.cli import completion
from khw.errors import UsageError

if TYPE_CHECKING:
    from khw.engine.phases import Phase
    from khw.engine.stepping import Stepper
    from khw.explain.guide import Guide


@click.command(context_settings={"ignore_unknown_options": True})  # a flag may be typed with its dashes
@click.argument("topic", required=False, shell_complete=completion.topics)
@click.option(
    "--phase",
    "phase_name",
    shell_complete=completion.phases,
    help="The phase of this name, where TOPIC could be something else too.",
)
@click.option("--host", shell_complete=completion.nodes, help="Only this host: a node, or `operator`.")
@click.option("--shell", "as_shell", is_flag=True, help="Print the phase as a script that does it by hand.")
@click.option("--offline", is_flag=True, help="Ask neither the project nor nodes: from the cluster file alone.")
@click.option("-o", "output", type=click.Choice(["text", "json", "name"]), default="text", show_default=True)
@click.pass_obj
def explain(  # noqa: PLR0913 - one parameter an option
    file: Path,
    topic: str | None,
    phase_name: str | None,
    host: str | None,
    as_shell: bool,
    offline: bool,
    output: str,
) -> None:
    """
    Say what TOPIC is, why it is there, and what breaks without it; show it on this cluster, and by hand.

    TOPIC is a phase, a file on a node, a flag or a field (kubelet:node-ip, where several have it), a certificate, a
    unit or a check. Without it, and with -o name, every topic is listed.
    """
    from khw.engine.phases import select
    from khw.explain.topics import Topics
    from khw.output import render

    name = phase_name or topic
    if as_shell or phase_name:
        if not name:
            raise UsageError("--shell prints a phase, and none was named", hint="khw explain --phase etcd --shell")
        (phase,) = select([name])
        if as_shell:
            click.echo(_guide(file, offline=offline).shell_for(phase, host), nl=False)
            return
    topics = Topics(_guide(file, offline=offline))
    if not name:
        click.echo("\n".join(topics.names()))
        return
    found = topics.find(name, host)
    if phase_name:
        found = [said for said in found if said.kind == "phase"]
    if output == "json":
        render.data([said.as_dict() for said in found], "json")
    elif output == "name":
        click.echo("\n".join(said.name for said in found))
    else:
        from khw.output import topic as render_topic

        for said in found:
            render_topic.topic(said)


@click.command()
@click.option("--to", type=click.Path(path_type=Path), help="A file, in place of standard output.")
@click.option("--scripts", type=click.Path(path_type=Path), help="A directory: a script a phase instead, numbered.")
@click.option("--offline", is_flag=True, help="Ask neither the project nor nodes: from the cluster file alone.")
@click.pass_obj
def export(file: Path, to: Path | None, scripts: Path | None, offline: bool) -> None:
    """
    Write the whole guide for this very cluster as Markdown, every command runnable.

    The scripts find out where they run: on your own machine first, then as root on the nodes.
    """
    from khw.engine.phases import PHASES
    from khw.explain.export import markdown
    from khw.files import write_atomically

    guide = _guide(file, offline=offline)
    if scripts is not None:
        for number, phase in enumerate(PHASES, 1):
            write_atomically(scripts / f"{number:02}-{phase.name}.sh", guide.shell(phase).encode(), mode=0o755)
        click.echo(f"wrote {len(PHASES)} scripts to {scripts}")
        return
    text = markdown(guide)
    if to is None:
        click.echo(text, nl=False)
    else:
        write_atomically(to, text.encode())
        click.echo(f"wrote {to}")


def _guide(file: Path, *, offline: bool) -> Guide:
    from khw.explain.opened import open_guide
    from khw.session import open_session

    return open_guide(open_session(file, check=True), offline=offline, tell=lambda text: click.echo(text, err=True))


def stepper(file: Path) -> Stepper:
    """Return what `khw run --step` asks with; a phase's shell is rendered only when it is asked for."""
    from khw.engine.stepping import Stepper
    from khw.explain.topics import about_phase

    def script(phase: Phase, host: str) -> str:
        guide = _guide(file, offline=False)
        return guide.shell(phase, host if host in guide.hosts(phase) else "")

    return Stepper(describe=about_phase, script=script)
