"""``aicli completion``."""

from __future__ import annotations

import click

__all__ = ["command"]

PLACES = {
    "bash": 'eval "$(aicli completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(aicli completion zsh)"   # in ~/.zshrc',
    "fish": "aicli completion fish > ~/.config/fish/completions/aicli.fish",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(PLACES)))
def command(shell: str) -> None:
    """Print the completion script of a shell: subcommands, options, values and model names.

    \b
        eval "$(aicli completion bash)"     in ~/.bashrc
        eval "$(aicli completion zsh)"      in ~/.zshrc
        aicli completion fish > ~/.config/fish/completions/aicli.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"this version of click knows no completion for {shell}")
    whole = click.get_current_context().find_root().command
    complete = kind(whole, {}, "aicli", "_AICLI_COMPLETE")
    # source() first asks the shell for its version, which fails where that shell is not installed.
    click.echo(complete.source_template % complete.source_vars())
