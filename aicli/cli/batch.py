"""The run over many images that classify and detect-faces share: inputs in, records out, failures counted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from aicli.cli.main import complain
from aicli.errors import AicliError, UsageError
from aicli.output.records import Task, Writer, make_writer

__all__ = ["open_writer", "read_inputs", "run"]


def read_inputs(options: dict[str, Any]) -> Iterable[Any]:
    """Takes the values of ``input_options`` out of a command's options; what they name, one image at a time."""
    from aicli.inputs import expand

    images, files_from = options.pop("images"), options.pop("files_from")
    null, include = options.pop("null"), options.pop("include")
    if not images and files_from is None:
        raise UsageError("no image was given; name files or folders, '-' for standard input, or use --files-from")
    return expand(images, files_from=files_from, null=null, include=include)


def open_writer(format_: str | None, task: Task, *, top_given: bool = False) -> Writer:
    """The writer for standard output; a table on a terminal and text elsewhere, unless a format was asked for."""
    chosen = format_ or ("table" if sys.stdout.isatty() else "text")
    return make_writer(chosen, sys.stdout, task=task, top_given=top_given)


def run(inputs: Iterable[Any], answer: Callable[[Any], tuple[Any, dict[str, Any]]], writer: Writer) -> int:
    """Answers every input in order and writes it at once; an image that fails is reported and the next one begun.

    ``answer`` gives a result and what else belongs into its record. Returns the exit code.
    """
    failures = 0
    with writer:
        for item in inputs:
            try:
                result, extra = answer(item)
            except UsageError:
                raise
            except AicliError as error:
                failures += 1
                writer.failure(item.name, str(error))
                complain(with_name(item.name, str(error)))
                continue
            writer.result(result, extra)
    return 1 if failures else 0


def with_name(name: str, message: str) -> str:
    """The message with the image's name in front, unless it already begins with it."""
    return message if message.startswith((name, f"{Path(name)}")) else f"{name}: {message}"


def exit_with(code: int) -> None:
    click.get_current_context().exit(code)
