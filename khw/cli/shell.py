"""`khw completion` and `khw schema`: what shells and editors need to help."""

from __future__ import annotations

import click

from khw.cli.completion import SHELLS


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    r"""
    Print the completion for a shell.

    \b
    bash:  eval "$(khw completion bash)"             in ~/.bashrc
    zsh:   eval "$(khw completion zsh)"              in ~/.zshrc
    fish:  khw completion fish > ~/.config/fish/completions/khw.fish
    """
    from khw.cli.completion import script

    click.echo(script(shell, context.find_root().command))


@click.command()
def schema() -> None:
    """Print the JSON schema of the cluster file; editors find it by the file's first line."""
    from khw.cluster.schema import text

    click.echo(text(), nl=False)
