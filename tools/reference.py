"""Writes what the documentation takes from the program: run it after an option, a help text or an error has changed.

    python tools/reference.py            writes the pages anew
    python tools/reference.py --check    ends with 1 when one would change

In a page, ``<!-- reference: NAME -->`` and ``<!-- end of reference -->`` stand around what is written here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import manpage

from aicli import errors
from aicli._option import Options
from aicli.cli.main import cli
from aicli.options import ClassifyOptions, DetectOptions

PROJECT = Path(__file__).resolve().parent.parent
MAN = "man/aicli.1"
PAGES = ("docs/cli.md", "docs/python.md", MAN)
BLOCK = re.compile(r"(<!-- reference: (\w+) -->\n).*?(<!-- end of reference -->)", re.DOTALL)
WIDTH = 100


def commands(group: click.Group, parent: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Every command below a group, with the context that its help is made in."""
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=parent, max_content_width=WIDTH, terminal_width=WIDTH)
        yield command, context
        if isinstance(command, click.Group):
            yield from commands(command, context)


def help_pages() -> str:
    root = click.Context(cli, info_name="aicli", **cli.context_settings, terminal_width=WIDTH)
    pages = ((context.command_path, command.get_help(context)) for command, context in commands(cli, root))
    return "".join(f"### {path}\n\n```text\n{page.rstrip()}\n```\n\n" for path, page in pages)


def option_tables() -> str:
    text = ""
    for options in (ClassifyOptions, DetectOptions):
        text += f"**{options.__name__}**\n\n| keyword | default | what it is |\n| --- | --- | --- |\n"
        text += "".join(option_rows(options)) + "\n"
    return text


def option_rows(options: type[Options]) -> Iterator[str]:
    for item in sorted(options.fields, key=lambda item: item.kw_only):
        words = item.explained("`{}`") or "What the guest may use."
        limits = (
            "" if item.kind in ("text", "texts", "group", "boolean") else f" {item.wanted[0].upper()}{item.wanted[1:]}."
        )
        default = f"{item.default!r}" + (f" ({item.explained('`{}`', item.shown)})" if item.shown else "")
        yield f"| `{item.name}` | {default} | {words}{limits} |\n".replace("|N", "\\|N")


def error_tree() -> str:
    drawn = (errors.__doc__ or "").partition("\n\n")[2].partition("\n\nA message")[0]
    return "```text\n" + "\n".join(line[4:] for line in drawn.splitlines()).rstrip() + "\n```\n"


WRITERS: dict[str, Callable[[], str]] = {"commands": help_pages, "options": option_tables, "errors": error_tree}


def renewed(page: str) -> str:
    """A page with its references as the program is now."""
    return BLOCK.sub(lambda match: f"{match[1]}{WRITERS[match[2]]()}{match[3]}", page)


def man_page() -> str:
    root = click.Context(cli, info_name="aicli", **cli.context_settings)
    return manpage.page(commands(cli, root))


def main(arguments: list[str]) -> int:
    changed = 0
    for name in PAGES:
        path = PROJECT / name
        before = path.read_text(encoding="utf-8")
        after = man_page() if name == MAN else renewed(before)
        if after != before:
            changed += 1
            print(f"{name}: {'differs from the program' if '--check' in arguments else 'written anew'}")
            if "--check" not in arguments:
                path.write_text(after, encoding="utf-8")
    return 1 if changed and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
