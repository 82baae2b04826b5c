"""`khw verify` and `khw smoke`: whether the cluster is right, and what is behind it if not."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from khw.cli import completion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from khw.verify.verdict import Verdict

FORMS = click.Choice(["table", "json", "junit"])
PROFILE = click.Choice(["khw", "cis"])


@click.command()
@click.argument("names", nargs=-1, shell_complete=completion.checks)
@click.option("--profile", type=PROFILE, default="khw", help="cis: the CIS Kubernetes Benchmark's recommendations.")
@click.option("--wait", type=click.FloatRange(0), default=0.0, help="Try again for so many seconds until all pass.")
@click.option("--watch", type=click.FloatRange(1), help="Again and again, with so many seconds between, until Ctrl-C.")
@click.option("-o", "output", type=FORMS, default="table", show_default=True)
@click.pass_obj
def verify(  # noqa: PLR0913 - the options of one command
    file: Path, names: Sequence[str], profile: str, wait: float, watch: float | None, output: str
) -> None:
    """
    Check the cluster from etcd to DNS; exit code 0 only if every check passed.

    NAMES are checks, or the beginnings of their names: only these are run (etcd, pod-to-pod, certificates). With
    --profile cis they are numbers of the benchmark, or of its sections (1.2.1, 4.2, 5).
    """
    from khw.session import open_session

    session = open_session(file)
    while watch is not None:
        _print(session.verify(names=names, profile=profile), output, watching=True, profile=profile)
        time.sleep(watch)
    _conclude(session.verify(wait=wait, names=names, profile=profile), output, profile)


@click.command()
@click.option("--disruptive", is_flag=True, help="Also lose a controller and reboot a worker.")
@click.option("-o", "output", type=FORMS, default="table", show_default=True)
@click.pass_obj
def smoke(file: Path, disruptive: bool, output: str) -> None:
    """Run the smoke test of chapter 13 by itself."""
    from khw.session import open_session

    _conclude(open_session(file).smoke(disruptive=disruptive), output)


def _conclude(verdict: Verdict, output: str, profile: str = "khw") -> None:
    """Print checks and end: 0 only if none failed."""
    _print(verdict, output, profile=profile)
    sys.exit(0 if verdict.ok else 3)


def _print(verdict: Verdict, output: str, *, watching: bool = False, profile: str = "khw") -> None:
    from khw.output import render
    from khw.output import verdict as render_verdict

    if output == "json":
        render.data(verdict.as_dict(), "json")
    elif output == "junit":
        from khw.verify.profiles import PROFILES

        click.echo(verdict.as_junit(PROFILES[profile].suite), nl=False)
    else:
        if watching:
            click.clear()
            click.echo(time.strftime("%H:%M:%S"))
        if profile == "cis":
            from khw.output.benchmark import benchmark

            benchmark(verdict)
        else:
            render_verdict.verdict(verdict, brief=watching)
