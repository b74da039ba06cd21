"""What the command line says beside its results, and the exit code that no error has."""

from __future__ import annotations

import click

from aicli.errors import AicliError, Remark

__all__ = ["EXIT_INTERRUPTED", "NearGroup", "complain", "told"]

EXIT_INTERRUPTED = 130


class NearGroup(click.Group):
    """A group that shows its help where no command is given, and suggests the near command for a mistyped one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not self.invoke_without_command and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)  # click's versions differ in where it goes, and in the exit code
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not near:
                raise
            raise click.UsageError(f"there is no command '{args[0]}'; did you mean '{near[0]}'?", ctx) from None


def told(said: AicliError | str) -> str:
    """An error's or a note's line, with options as this command line spells them."""
    from aicli.cli.options import spelled

    return said.told(spelled) if isinstance(said, (AicliError, Remark)) else said


def complain(message: str) -> None:
    """One line on standard error, whatever the message holds."""
    from aicli._text import visible

    click.echo(f"aicli: {visible(message)}", err=True)
