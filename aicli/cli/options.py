"""Options that classify and detect-faces share, and the values that they give."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = [
    "SIZE",
    "complete_models",
    "input_options",
    "output_options",
    "pull_option",
    "run_keywords",
    "sandbox_keywords",
    "sandbox_options",
]

Command = TypeVar("Command", bound=Callable[..., Any])

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class SizeType(click.ParamType[int]):
    """A number of bytes: ``268435456``, ``256M``, ``1GiB``."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+)\s*([KMG]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
        if match is None or int(match[1]) == 0:
            self.fail(f"'{value}' is no size; write it as 256M or 1G", param, ctx)
        return int(match[1]) * UNITS[match[2].upper()]


SIZE = SizeType()


def decorate(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """One decorator out of several, listed in the order of the help text."""

    def apply(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


input_options = decorate(
    click.argument("images", nargs=-1, type=str, metavar="[IMAGE|FOLDER|-]..."),
    click.option(
        "--files-from", metavar="FILE|-", help="Read the names of images from a file, or - for standard input."
    ),
    click.option("-0", "--null", is_flag=True, help="Names in --files-from end with NUL (find -print0)."),
    click.option("--include", multiple=True, metavar="PATTERN", help="From folders take only names like this (*.jpg)."),
    click.option(
        "--max-pixels",
        type=click.IntRange(1),
        metavar="N",
        help="Refuse images of more pixels.  [default: 100000000]",
    ),
)

output_options = decorate(
    click.option(
        "-f",
        "--format",
        "format_",
        type=click.Choice(["table", "text", "json", "jsonl", "csv"]),
        help="How results are written.  [default: table on a terminal, else text; by the suffix of --output-file]",
    ),
    click.option(
        "-O",
        "--output-file",
        metavar="FILE",
        help="Write the results here; the file appears when it is complete.",
    ),
    click.option("--resume", is_flag=True, help="Go on with an --output-file (jsonl, csv): skip what it answers."),
    click.option(
        "-j",
        "--jobs",
        type=click.IntRange(1, 256),
        metavar="N",
        help="Images worked on at once.  [default: the cores; 1 for up to 4 images]",
    ),
    click.option(
        "--on-error",
        type=click.Choice(["skip", "stop"]),
        default="skip",
        show_default=True,
        help="What to do after an image that cannot be answered.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="Give up an image after this time: reading, guest and pictures.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Errors only: no progress, no notes, no summary."),
    click.option("-v", "--verbose", is_flag=True, help="Show the time of each stage of each image."),
    click.option("--timing", is_flag=True, help="Add the milliseconds of each stage to json and jsonl records."),
)

pull_option = click.option(
    "--pull", is_flag=True, help="Get the model if it is not here yet.  [also: AICLI_AUTO_PULL=1]"
)


def complete_models(task: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Shell completion of model names; file names are left to the shell when none fits."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from aicli.catalog.entries import all_entries
        from aicli.errors import AicliError

        try:
            entries = [entry for entry in all_entries() if entry.task == task]
        except AicliError:
            entries = []
        names = [name for entry in entries for name in (entry.name, *entry.aliases) if name.startswith(incomplete)]
        return list(names) or [CompletionItem(incomplete, type="file")]

    return complete


def run_keywords(options: dict[str, Any]) -> dict[str, Any]:
    """Takes the values of :data:`output_options` out of a command's options, as RunOptions names them."""
    names = ("jobs", "timeout", "on_error", "output_file", "resume", "quiet", "verbose", "timing")
    return {"format": options.pop("format_"), **{name: options.pop(name) for name in names}}


sandbox_options = decorate(
    click.option(
        "--runtime",
        metavar="NAME",
        envvar="AICLI_RUNTIME",
        help="WebAssembly runtime: wasmer or wasmtime.  [default: the first installed; for --guest wasmtime]",
    ),
    click.option(
        "--engine",
        metavar="NAME",
        envvar="AICLI_ENGINE",
        help="TFLite engine: litert or tflite-runtime.  [default: the first installed]",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1, 64),
        help="Threads of the network in each job.  [default: the cores / --jobs]",
    ),
    click.option(
        "--guest",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Run this WebAssembly guest instead of the packaged one.",
    ),
    click.option(
        "--guest-memory",
        type=SIZE,
        metavar="SIZE",
        help="Memory that the guest may use, such as 512M.  [default: 1G]",
    ),
    click.option(
        "--guest-timeout",
        type=click.FloatRange(0, min_open=True),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="Time that the guest may use for one image.",
    ),
    click.option(
        "--trust-guest",
        is_flag=True,
        help="Run --guest even on a runtime that cannot end it when it hangs (wasmer).",
    ),
)


def sandbox_keywords(options: dict[str, Any]) -> dict[str, Any]:
    """Takes the values of :data:`sandbox_options` out of a command's options, as the task classes name them."""
    from aicli.wasm.runtime import Limits

    memory = options.pop("guest_memory")
    timeout = options.pop("guest_timeout")
    limits = Limits(timeout=timeout) if memory is None else Limits(memory, timeout)
    names = ("runtime", "engine", "threads", "guest", "trust_guest", "max_pixels")
    return {"limits": limits, **{name: options.pop(name) for name in names}}
