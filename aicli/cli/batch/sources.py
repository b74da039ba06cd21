"""What a command line names as input, as often as it is needed: to be answered, and to be counted."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Any

from aicli.errors import UsageError

if TYPE_CHECKING:
    from aicli.cli.batch.progress import Progress
    from aicli.image.inputs import Input
    from aicli.options import InputOptions

__all__ = ["Sources", "in_background"]


class Sources:
    """The images that a command line names."""

    def __init__(self, options: InputOptions) -> None:
        self._options = options
        self.arguments = options.images
        if not self.arguments and options.files_from is None:
            raise UsageError("no image was given; name files or folders, '-' for standard input, or use --files-from")
        self.excluded: list[str] = []
        self._first: Iterator[Input] | None = self._expand()  # now, because it may raise UsageError

    @property
    def is_slow(self) -> bool:
        """Whether another program is still writing the names."""
        return self._options.files_from == "-"

    @property
    def is_one_file(self) -> bool:
        """Whether no more than one image can come of it."""
        one = len(self.arguments) == 1 and self._options.files_from is None
        return one and (self.arguments[0] == "-" or not os.path.isdir(self.arguments[0]))

    def folders(self) -> list[str]:
        """The folders among the arguments."""
        return [os.path.realpath(name) for name in self.arguments if name != "-" and os.path.isdir(name)]

    def exclude(self, folder: str) -> None:
        """Leaves out what lies in this folder of results, unless it is itself named as input."""
        real = os.path.realpath(folder)
        if real not in self.folders():
            self.excluded.append(real + os.sep)

    def refuse_as_output(self, path: str) -> None:
        """Raises :class:`UsageError` when a file of results is one of the images."""
        if any(name == path or (os.path.exists(path) and same_file(name, path)) for name in self.arguments):
            raise UsageError(f"{path}: this is a photo of the input, which is never overwritten; name another file")

    def inputs(self) -> Iterator[Input]:
        first, self._first = self._first or self._expand(), None
        if not self.excluded or not self.folders():
            yield from first
            return
        out = tuple(self.excluded)
        named = set(self.arguments)
        for item in first:
            if item.path is None or item.name in named or not os.path.realpath(item.path).startswith(out):
                yield item

    def _expand(self) -> Iterator[Input]:
        from aicli.image.inputs import expand

        # Unbuffered: a thread that waits for a buffered stream cannot be left behind at exit.
        raw = getattr(getattr(sys.stdin, "buffer", None), "raw", None) if self.is_slow else None
        given = self._options
        return expand(given.images, files_from=given.files_from, null=given.null, include=given.include, stdin=raw)

    def count_into(self, progress: Progress, is_answered: Callable[[str], bool]) -> None:
        """Counts the images in the background, where that is possible, for the progress line."""
        if self.is_slow:
            return

        def count() -> None:
            again = Sources(self._options)
            again.excluded = self.excluded
            progress.total = sum(not is_answered(item.name) for item in again.inputs())

        threading.Thread(target=count, daemon=True).start()


def in_background(inputs: Iterable[Any]) -> Iterator[Any]:
    """The inputs, read in a thread; ``PENDING`` where the next is not known yet, so that answers are not held up."""
    from aicli.tasks.many import PATIENCE, PENDING

    queue: Queue[tuple[str, Any]] = Queue(maxsize=64)
    ended = threading.Event()

    def put(entry: tuple[str, Any]) -> None:
        while not ended.is_set():
            try:
                queue.put(entry, timeout=0.5)
                return
            except Full:
                continue

    def read() -> None:
        try:
            for item in inputs:
                put(("item", item))
        except BaseException as error:
            put(("error", error))
        else:
            put(("end", None))

    threading.Thread(target=read, daemon=True).start()
    try:
        while True:
            try:
                kind, value = queue.get(timeout=PATIENCE)
            except Empty:
                yield PENDING
                continue
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        ended.set()


def same_file(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except OSError:
        return False


def in_folder(path: Path, folders: Iterable[str]) -> bool:
    """Whether a path lies in one of these (real) folders."""
    real = os.path.realpath(path)
    return any(real.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)
