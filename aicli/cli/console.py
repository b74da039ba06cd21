"""What the command line says beside its results, and the exit code that no error has."""

from __future__ import annotations

import click

__all__ = ["EXIT_INTERRUPTED", "complain"]

EXIT_INTERRUPTED = 130


def complain(message: str) -> None:
    """One line on standard error, whatever the message holds."""
    from aicli.output.escape import visible

    click.echo(f"aicli: {visible(message)}", err=True)
