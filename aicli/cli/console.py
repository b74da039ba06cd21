"""What the command line says beside its results, and the exit code that no error has."""

from __future__ import annotations

import click

from aicli.errors import AicliError

__all__ = ["EXIT_INTERRUPTED", "complain", "told"]

EXIT_INTERRUPTED = 130


def told(error: AicliError) -> str:
    """An error's line, with options as this command line spells them."""
    from aicli.cli.options import spelled

    return error.told(spelled)


def complain(message: str) -> None:
    """One line on standard error, whatever the message holds."""
    from aicli.output.escape import visible

    click.echo(f"aicli: {visible(message)}", err=True)
