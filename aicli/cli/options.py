"""Options that classify and detect-faces share, and the values that they give."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["SIZE", "input_options", "output_options", "sandbox_keywords", "sandbox_options"]

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
    click.option("-0", "--null", is_flag=True, help="Names in --files-from end with NUL (find -print0), not a newline."),
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
        help="How results are written.  [default: table on a terminal, else text]",
    ),
)

sandbox_options = decorate(
    click.option(
        "--runtime",
        metavar="NAME",
        envvar="AICLI_RUNTIME",
        help="WebAssembly runtime: wasmer or wasmtime.  [default: the first installed]",
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
        help="Threads of the network.  [default: the cores, at most 4; 1 with tflite-runtime]",
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
