"""Pulling models from the command line: the progress bar, and ``--pull`` of the commands that run a model."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aicli.catalog.download import Progress

__all__ = ["progress_bar", "pull_if_absent"]


def pull_if_absent(model: str, pull: bool) -> None:
    """Gets a model of the catalog that is not here, when ``--pull`` or ``AICLI_AUTO_PULL=1`` asks for it.

    Names that the catalog does not know, and paths, are left to the command itself.
    """
    if not pull and os.environ.get("AICLI_AUTO_PULL", "0") in ("", "0"):
        return
    from aicli.catalog.entries import find_entry
    from aicli.catalog.load import looks_like_path

    entry = None if looks_like_path(model) else find_entry(model)
    if entry is None or entry.own or entry.state != "available":
        return
    from aicli.catalog.pulling import pull as pull_model

    with progress_bar() as progress:
        pull_model(entry.name, progress=progress)


@contextmanager
def progress_bar() -> Iterator[Progress | None]:
    """A progress bar on standard error where that is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        *(TextColumn("{task.description}"), BarColumn(), DownloadColumn()),
        *(TransferSpeedColumn(), TimeRemainingColumn()),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def progress(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(escape(name), total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield progress
