"""The manual page, from the same help texts as ``--help``; tools/reference.py writes it to man/aicli.1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import click

from aicli import __version__
from aicli.cli.main import cli

Commands = Iterable[tuple[click.Command, click.Context]]

ENDS = [
    ("0", "success"),
    ("1", "some image failed, or the command could not do its work"),
    ("2", "wrong usage"),
    ("130", "interrupted"),
]
SPECIAL = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"})


def escaped(text: str) -> str:
    """Words as roff takes them: one line, nothing in it a request."""
    line = " ".join(text.split()).translate(SPECIAL)
    return f"\\&{line}" if line.startswith((".", "\\(aq")) else line


def paragraphs(help: str) -> Iterator[str]:
    """A help text; what click leaves as it is (``\\b``) stays as it is."""
    for block in re.split(r"\n\s*\n", help.strip()):
        lines = block.split("\n")
        if lines[0].strip() == "\b":
            yield ".PP\n.nf\n" + "\n".join(escaped(line) for line in lines[1:]) + "\n.fi\n"
        else:
            yield f".PP\n{escaped(block)}\n"


def section(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SS {escaped(context.command_path)}\n.PP\n.B {escaped(context.command_path)}\n{escaped(usage)}\n"
    yield from paragraphs(command.help or "")
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if record is not None and record[1]:
            yield f".TP\n.B {escaped(record[0])}\n{escaped(record[1])}\n"


def page(commands: Commands) -> str:
    """The page in roff, of these commands with the contexts that their help is made in."""
    summary, _, rest = (cli.help or "").strip().partition("\n")
    parts = [
        f'.TH AICLI 1 "" "aicli {__version__}" "User Commands"\n',
        f".SH NAME\naicli \\- {escaped(summary.rstrip('.')).lower()}\n",
        ".SH SYNOPSIS\n.B aicli\n[OPTIONS] COMMAND [ARGS]...\n",
        ".SH DESCRIPTION\n",
        *(part for part in paragraphs(rest) if not part.startswith(".PP\nExit codes")),
        ".SH COMMANDS\n",
        *(part for command, context in commands for part in section(command, context)),
        ".SH EXIT STATUS\n",
        *(f".TP\n.B {code}\n{escaped(meaning)}\n" for code, meaning in ENDS),
    ]
    return "".join(parts)
