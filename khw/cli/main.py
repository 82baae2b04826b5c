"""
The command line: parse, call, render, exit code. No logic.

Exit codes: 0 ok · 1 error, or changes pending with --check --exit-code · 2 usage · 3 hosts or checks failed ·
4 unreachable · 130 Ctrl-C. Data goes to stdout, progress and errors to stderr. Slow imports stay inside functions:
`khw --help` loads neither netmiko nor the cloud's client.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from khw import __version__, interrupt
from khw.cli import completion
from khw.cli.artifacts import artifacts
from khw.cli.drill import drill
from khw.cli.explain import explain, export, stepper
from khw.cli.lab import lab
from khw.cli.report import diagram, report
from khw.cli.shell import completion as completion_command
from khw.cli.shell import schema
from khw.cli.verify import smoke, verify
from khw.errors import KhwError, UnreachableError, UsageError
from khw.files import disk_full
from khw.imports import own_process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from khw.live import Mode
    from khw.session import Session

HELP = {"help_option_names": ["-h", "--help"]}


class _Group(click.Group):
    """A group that turns khw's errors into a message, a hint and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KhwError as error:
            _tell(ctx, error)
        except OSError as error:
            full = disk_full(error)
            if full is None:
                raise
            _tell(ctx, full)
        except KeyboardInterrupt:
            click.echo("khw: cancelled", err=True)
            interrupt.leave(interrupt.EXIT_CODE)


def _tell(ctx: click.Context, error: KhwError) -> None:
    click.secho(f"khw: {error}", fg="red", err=True)
    if evidence := getattr(error, "evidence", ""):
        click.echo(evidence, err=True)
    if error.hint:
        click.echo(f"  → {error.hint}", err=True)
    ctx.exit(error.exit_code)


@click.group(cls=_Group, context_settings=HELP)
@click.version_option(__version__)
@click.option(
    "-f",
    "--file",
    "file",
    type=click.Path(path_type=Path),
    default="khw.yaml",
    envvar="KHW_FILE",
    show_envvar=True,
    show_default=True,
    help="The cluster file.",
)
@click.pass_context
def main(ctx: click.Context, file: Path) -> None:
    """Kubernetes The Hard Way, automated: real machines, every file and flag in the open."""
    ctx.obj = file


def console() -> None:
    """Do as the installed command does: parse, call, and be gone; taking a process apart takes a tenth of a second."""
    own_process()
    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            interrupt.vanish(end.code or 0)
        raise


main.add_command(lab)
main.add_command(artifacts)
main.add_command(explain)
main.add_command(export)
main.add_command(report)
main.add_command(diagram)
main.add_command(verify)
main.add_command(smoke)
main.add_command(completion_command)
main.add_command(schema)
main.add_command(drill)


def _session(file: Path, *, check: bool = False) -> Session:
    from khw.session import open_session

    return open_session(file, check=check)


@main.command()
@click.option(
    "--lab",
    "lab_name",
    default="default",
    envvar="KHW_LAB",
    show_envvar=True,
    show_default=True,
    help="The lab whose project it is for.",
)
@click.option("--project", help="A Google Cloud project instead of the lab.")
@click.option("--force", is_flag=True, help="Replace a cluster file that is there.")
@click.pass_obj
def init(file: Path, lab_name: str, project: str | None, force: bool) -> None:
    """Write a cluster file to begin with."""
    from khw.session import write_cluster_file

    write_cluster_file(file, lab_name=lab_name, project=project, force=force)
    click.echo(f"wrote {file}")


_SELECTION = (
    click.option(
        "--phase",
        "only",
        multiple=True,
        shell_complete=completion.phases,
        help="Only this phase; may be given again.",
    ),
    click.option("--from", "start", shell_complete=completion.phases, help="From this phase on."),
    click.option("--until", shell_complete=completion.phases, help="Up to and with this phase."),
    click.option("--skip", multiple=True, shell_complete=completion.phases, help="Not this phase; may be given again."),
    click.option("--limit", shell_complete=completion.hosts, help="Only these hosts, with commas between."),
    click.option("--failed", is_flag=True, help="Only what this and earlier runs left undone, from where it stopped."),
    click.option(
        "--resume", is_flag=True, help="The last run once more, with its own selection, from where it stopped."
    ),
    click.option(
        "-j", "parallel", type=click.IntRange(1), default=64, show_default=True, help="Hosts at work at once."
    ),
    click.option(
        "--progress",
        type=click.Choice(["auto", "live", "lines"]),
        default="auto",
        show_default=True,
        help="How it shows what it does: a live view of all hosts, or a line an event.",
    ),
    click.option(
        "-o", "output", type=click.Choice(["table", "wide", "json", "nornir"]), default="table", show_default=True
    ),
)


def _selects(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say what a run is about."""
    for option in reversed(_SELECTION):
        command = option(command)
    return command


@main.command()
@_selects
@click.option("--check", is_flag=True, help="Say what would change; change nothing.")
@click.option("--diff", is_flag=True, help="Show the lines that change (or would); secrets are masked.")
@click.option("--exit-code", is_flag=True, help="With --check: exit code 1 if anything would change.")
@click.option("--step", is_flag=True, help="Stop before each phase, show it, and ask.")
@click.pass_obj
def run(file: Path, /, check: bool, diff: bool, exit_code: bool, step: bool, **selection: Any) -> None:
    """Build the cluster, or what is missing of it: phase by phase, on all hosts at once."""
    _walk(file, check=check, diff=diff, exit_code=exit_code, step=step, **selection)


@main.command()
@_selects
@click.option("--exit-code", is_flag=True, help="Exit code 1 if anything would change.")
@click.pass_obj
def plan(file: Path, /, exit_code: bool, **selection: Any) -> None:
    """Say what a run would change, line by line, and change nothing: the same as `khw run --check --diff`."""
    _walk(file, check=True, diff=True, exit_code=exit_code, **selection)


def _walk(  # noqa: PLR0913 - one parameter an option
    file: Path,
    *,
    check: bool,
    diff: bool,
    exit_code: bool,
    only: Sequence[str],
    start: str | None,
    until: str | None,
    skip: Sequence[str],
    limit: str | None,
    failed: bool,
    resume: bool,
    parallel: int,
    progress: Mode,
    output: str,
    step: bool = False,
) -> None:
    session = _session(file, check=check)
    if not (only or start or until or skip or failed or resume or step):
        session.begin_logins(limit.split(",") if limit else None)

    from khw import live
    from khw.engine.phases import select
    from khw.history import forecast
    from khw.output import render
    from khw.session import plan_for, plan_to_resume

    if resume:
        if only or start or until or skip or limit or failed:
            raise UsageError("--resume has its own selection: the last run's", hint="khw run --failed takes options")
        plan = plan_to_resume(session, parallel=parallel)
    else:
        phases = select(only, start, until, skip)
        plan = plan_for(session, phases, limit=limit, failed=failed, parallel=parallel)
    if plan is None:
        click.echo("nothing was left undone: nothing to do", err=True)
        return
    before = stepper(file) if step else None
    progress = "lines" if before else progress  # it asks, line by line
    title = "khw plan" if check else "khw run"
    paces = partial(forecast.paces, session.workspace.runs)
    with live.progress(progress, check=check, what=title, paces=paces) as sink:
        told = before.after_answers(sink) if before else sink
        outcome = session.run(plan, sinks=[told], what=" ".join(sys.argv[1:]), before=before)
    cost = session.cost(outcome.report) if check else None
    if output == "json":
        render.data({**outcome.report.as_dict(), **({"cost": cost.as_dict()} if cost else {})}, "json")
    elif output == "nornir":
        from nornir_utils.plugins.functions import (
            print_result,
        )  # it patches stdout: only where it is asked for

        print_result(outcome.aggregated)
    else:
        if check or diff:
            render.changes(outcome.report, diff=diff)
        render.report(outcome.report)
        if cost:
            click.echo(str(cost))
        if output == "wide":
            render.phase_times(outcome.report)
    pending = check and exit_code and outcome.report.changed > 0
    interrupt.leave(outcome.report.exit_code or int(pending))


@main.command()
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def status(file: Path, output: str) -> None:
    """Say when the last run was, where each host stopped and why, and what to type next."""
    from khw.output import render

    found = _session(file, check=True).status()
    if output == "json":
        render.data(found.as_dict(), "json")
    else:
        render.status(found)


@main.command()
@click.option("-o", "output", type=click.Choice(["table", "json", "yaml", "name"]), default="table")
def phases(output: str) -> None:
    """List the phases of a run."""
    from khw.engine.phases import PHASES
    from khw.output import render

    rows = [
        {
            "phase": p.name,
            "chapter": p.chapter,
            "runs_on": ("one " if p.once else "")
            + " ".join((["operator"] if p.operator else []) + sorted(r if r == "etcd" else f"{r}s" for r in p.roles)),
            "needs": "; ".join(str(n) for n in (*p.needs, *p.settle_needs)) or "-",
            "title": p.title,
        }
        for p in PHASES
    ]
    if output == "table":
        render.table(("phase", "chapter", "runs on", "needs", "title"), (tuple(r.values()) for r in rows))
    elif output == "name":
        click.echo("\n".join(p.name for p in PHASES))
    else:
        render.data(rows, output)


@main.command()
@click.option("-o", "output", type=click.Choice(["table", "wide", "json", "yaml", "name"]), default="table")
@click.pass_obj
def inventory(file: Path, output: str) -> None:
    """List the cluster's machines, as Nornir sees them."""
    from khw.output import render

    nodes = _session(file).nodes()
    if output == "name":
        click.echo("\n".join(str(n["name"]) for n in nodes))
    elif output in {"json", "yaml"}:
        render.data(nodes, output)
    else:
        columns = ["name", "role", "internal_ip", "external_ip", "pod_cidr"]
        if output == "wide":
            columns += ["zone", "ssh", "unreachable"]
        render.table([c.replace("_", " ") for c in columns], ([n[c] or "-" for c in columns] for n in nodes))


@main.command()
@click.option("-o", "output", type=click.Choice(["table", "json", "yaml"]), default="table")
@click.pass_obj
def routes(file: Path, output: str) -> None:
    """
    Print the network's route table, as chapter 11 does.

    On machines of your own: the routes to pods that each has, and what each should have.
    """
    from khw.output import render

    found = _session(file).routes()
    if output == "table":
        render.table(found.columns, (["-" if value == "" else value for value in row.values()] for row in found.rows))
    else:
        render.data(list(found.rows), output)
    if found.note:
        click.echo(found.note, err=True)
    for node, why in found.silent.items():
        click.echo(f"{node} did not say its routes: {why}", err=True)
    sys.exit(UnreachableError.exit_code if found.silent else 0)


@main.command()
@click.pass_obj
def kubeconfig(file: Path) -> None:
    """Print the path of the administrator's kubeconfig."""
    workspace = _session(file).workspace
    if not workspace.kubeconfig.exists():
        raise UsageError("there is no kubeconfig yet", hint="khw run --phase kubectl")
    click.echo(workspace.kubeconfig)


@main.command(context_settings={"allow_interspersed_args": False})  # what comes after NODE is the command's own
@click.argument("node", shell_complete=completion.nodes)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def ssh(file: Path, node: str, command: Sequence[str]) -> None:
    """Log in to a node, or run one command on it, with the cluster's own key and known hosts."""
    import os

    argv = _session(file).ssh_command(node, command)
    os.execvp(argv[0], argv)  # noqa: S606 - to become ssh is the point


@main.command()
@click.option("--check", is_flag=True, help="List what would go, and what would stay; remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def destroy(file: Path, check: bool, yes: bool) -> None:
    """Chapter 14: remove everything that khw made in the project, and list what is left: nothing."""
    from khw.output import render

    session = _session(file, check=check)
    if session.spec.provider == "static":
        names = ", ".join(node["name"] or "" for node in session.nodes())
        click.echo(f"nothing is removed: khw did not make {names}, and the cluster goes on there; install them anew")
        return
    if not check and not yes:
        click.confirm(f"Remove the cluster {session.spec.name} and its machines?", abort=True, err=True)
    changes, left = session.destroy()
    action = "would be removed" if check else None
    render.table(("resource", "where", "action"), ((c.resource, c.before, action or c.action) for c in changes))
    if check:
        click.echo("would stay: " + (", ".join(left) or "nothing"))
    else:
        click.echo("left in the project: " + (", ".join(left) or "nothing"))
        sys.exit(1 if left else 0)
