"""The ``aicli`` command: a group that imports a subcommand only when it is asked for, and the exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from aicli import __version__
from aicli.cli.console import EXIT_INTERRUPTED, NearGroup, complain, told
from aicli.errors import AicliError

COMMANDS = {
    "classify": "Say what is in photos, with a MobileNet-class model.",
    "detect-faces": "Find faces in photos, with MTCNN.",
    "train": "Train a classifier on folders of photos.",
    "evaluate": "Measure a classifier on labelled photos.",
    "models": "List, show, pull, verify and register models.",
    "doctor": "Check the installation and say how to mend it.",
    "info": "Show runtimes, engines, versions and folders.",
    "build-guest": "Compile the guest, or start one of your own.",
    "inspect": "Say what a WebAssembly module needs and offers.",
    "run": "Run a WebAssembly command made for wasi-nn, WasmEdge or SSVM.",
    "cache": "Show and clear the cache of compiled guests.",
    "serve": "Serve it all over HTTP, with a web page.",
    "page": "Write the web page as static files that run in the browser.",
    "completion": "Print the completion script of a shell.",
}
"""Every subcommand with its line in the overview, so that the overview imports none of them."""


class ReaderGone(Exception):
    """Nobody reads standard output any more, as after ``| head``."""


class LazyGroup(NearGroup):
    """A group whose subcommands are imported on use: ``aicli --help`` loads neither numpy nor a runtime."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and os.path.exists(args[0]):
            from shlex import quote

            meant = f"aicli {'run' if args[0].endswith('.wasm') else 'classify'} {quote(args[0])}"
            kind = "folder" if os.path.isdir(args[0]) else "file"
            raise click.UsageError(f"'{args[0]}' is a {kind}, not a command; did you mean: {meant}", ctx)
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"aicli.cli.commands.{cmd_name.replace('-', '_')}").command
        return command

    # click exits with code 1 when nobody reads: in `parse_args` for --help and --version, in `invoke` for the rest.

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except BrokenPipeError:
            raise ReaderGone from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderGone from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="aicli")
def cli() -> None:
    """Run vision models as sandboxed functions.

    A WebAssembly guest prepares the image and reads the answer; a TFLite interpreter runs the network for it at native
    speed. Results go to standard output, everything else to standard error.

    Exit codes: 0 success, 1 some image failed, 2 wrong usage, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its code; the only place that turns errors into lines and codes."""
    sys.exit(run(list(arguments) if arguments is not None else sys.argv[1:]))


def run(arguments: list[str]) -> int:
    try:
        result = cli.main(arguments, prog_name="aicli", standalone_mode=False)
        code = result if isinstance(result, int) else 0
        sys.stdout.flush()
        return code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else asked(arguments)
        message = error.format_message()
        if isinstance(error, click.MissingParameter):
            message = " ".join(message.split())  # click sets choices below each other
        elif isinstance(error, click.NoSuchOption):
            message += meant_as_no_option(arguments, where)
        complain(f"{message} (see '{where} --help')")
        return 2
    except click.ClickException as error:
        complain(error.format_message())
        return error.exit_code
    except AicliError as error:
        complain(told(error))
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        complain("interrupted")
        return EXIT_INTERRUPTED
    except (BrokenPipeError, ReaderGone):
        # The reader has gone, as `| head` does. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        complain(f"{error.filename or 'cannot write to standard output'}: {error.strerror or error}")
        return 1


def asked(arguments: list[str]) -> str:
    """The command that the words begin with: click does not say where its parser met an option without a value."""
    words: list[str] = ["aicli"]
    command: click.Command = cli
    for word in arguments:
        found = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
        if found is None:
            break
        words.append(word)
        command = found
    return " ".join(words)


def meant_as_no_option(arguments: list[str], where: str) -> str:
    """How a word that begins with a dash and is not an option is written, as a sentence, where one seems meant."""
    file = next((word for word in arguments if word.startswith("-") and os.path.lexists(word)), None)
    if file is not None:
        return f" A file of this name is written ./{file}."
    return " What is for the guest goes behind a --." if where == "aicli run" else ""
