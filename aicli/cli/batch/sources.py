"""What a command line names as input, as often as it is needed: to be answered, and to be counted."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aicli._same_file import FileSet, same_file
from aicli.errors import UsageError

if TYPE_CHECKING:
    from aicli.cli.batch.progress import Progress
    from aicli.image.inputs import Input
    from aicli.options import InputOptions

__all__ = ["Sources", "in_background"]


class PassedOver:
    """Files of folders and archives: how many were no images by their suffix, by that, or not looked at, and why.

    No results count.
    """

    def __init__(self, excluded: list[str]) -> None:
        self.counts: Counter[str] = Counter()
        self.results: set[str] = set()
        self.tell: Callable[[str, str], None] | None = None
        self._excluded = excluded
        self._known: dict[str, bool] = {}

    def __call__(self, path: str, why: str) -> None:
        if real_path(path) in self.results or (self._excluded and is_in(path, self._excluded, self._known)):
            return
        self.counts[why or os.path.splitext(path)[1].lower() or "without suffix"] += 1
        if self.tell is not None:
            self.tell(path, why)


class Sources:
    """The images that a command line names."""

    def __init__(self, options: InputOptions, program: str = "aicli classify", *, unpacks: bool = True) -> None:
        """Without ``unpacks`` an archive, or a Parquet file with a column of photos, is one input that is not known."""
        self._options, self._program, self._unpacks = options, program, unpacks
        self.arguments = options.images
        if not self.arguments and options.files_from is None:
            raise UsageError("no image was given; name files or folders, '-' for standard input, or use --files-from")
        self.excluded: list[str] = []
        self.passed_over = PassedOver(self.excluded)
        self._outputs: list[tuple[str, str]] = []
        self._photos: FileSet | None = None
        self._first: Iterator[Input] | None = self._expand(tells=True)  # now, because it may raise UsageError

    @property
    def is_slow(self) -> bool:
        """Whether the names come from standard input or a pipe: they may come slowly, and can be read only once."""
        name = self._options.files_from
        return name == "-" or (name is not None and os.path.exists(name) and not os.path.isfile(name))

    @property
    def is_one_file(self) -> bool:
        """Whether no more than one image can come of it."""
        from aicli.image.formats import is_archive
        from aicli.image.inputs import has_pattern, is_address, is_one_photo

        if len(self.arguments) != 1 or self._options.files_from is not None or self._options.column is not None:
            return False
        name = self.arguments[0]
        if is_address(name):
            return is_one_photo(name)
        if has_pattern(name) and not os.path.lexists(name):
            return False
        return not os.path.isdir(name) and not is_archive(name)

    def folders(self) -> list[str]:
        """The folders among the arguments."""
        return [os.path.realpath(name) for name in self.arguments if name != "-" and os.path.isdir(name)]

    def exclude(self, folder: str) -> None:
        """Leaves out what lies in this folder of results, unless it is itself named as input."""
        if not any(same_file(folder, other) for other in self.folders()):
            self.excluded.append(folder)

    def refuse_as_output(self, path: str, option: str) -> None:
        """Raises :class:`UsageError` when a file of results is one of the images, or a link to one.

        Where the names come slowly, :meth:`inputs` raises it as soon as that image comes.
        """
        self.passed_over.results |= {real_path(path), real_path(f"{path}.part")}
        reason = self._why_not(path, option) if os.path.exists(path) else None
        if reason is not None:
            for _ in self._first or ():  # a list that was opened is closed by who has begun to read it
                break
            raise UsageError(f"{path}: this is {reason}, which is never overwritten; choose another {option}")

    def _why_not(self, path: str, option: str) -> str | None:
        if self._options.files_from is not None and same_file(self._options.files_from, path):
            return "the list of --files-from"
        if any(same_file(name, path) for name in self.arguments):
            return "a photo of the input"
        if not os.path.isfile(path) or not looks_like_a_photo(path):
            return None
        if self.is_slow:
            self._outputs.append((path, option))
            return None
        held = any(item.path is not None and same_file(str(item.path), path) for item in self._expand(opens=False))
        return "a photo of the input" if held else None

    def read_all(self) -> None:
        """Reads names that come slowly to their end, so that :meth:`holds` knows them from the beginning."""
        if self.is_slow:
            items = [item.held() for item in self._first or ()]
            self._first = iter(items)
            self._photos = files_of(items)

    def holds(self, path: str) -> bool:
        """Whether a file is one of the images, or a link to one."""
        if self._photos is None:
            self._photos = files_of(self._expand(opens=False))
        return self._photos.find(path) is not None

    def may_hold(self, path: str) -> bool:
        """Whether a real path is named as an image, or lies in a folder that is; lists of names are not looked at."""
        real = [os.path.realpath(name) for name in self.arguments if name != "-"]
        return path in real or any(path.startswith(folder.rstrip(os.sep) + os.sep) for folder in real)

    def inputs(self) -> Iterator[Input]:
        first, self._first = self._first or self._expand(tells=True), None
        named = set(self.arguments)
        in_results: dict[str, bool] = {}
        watches = bool(self.excluded and self.folders())
        for item in first:
            for path, option in self._outputs:
                if item.path is not None and same_file(str(item.path), path):
                    what = "a photo of the input, which is never overwritten"
                    raise UsageError(f"{path}: this is {what}; choose another {option}")
            if (
                watches
                and item.path is not None
                and item.name not in named
                and is_in(item.path, self.excluded, in_results)
            ):
                continue
            yield item.held() if self.is_slow else item  # they are read ahead

    def _expand(self, *, tells: bool = False, opens: bool = True) -> Iterator[Input]:
        from aicli.image.inputs import expand

        # Unbuffered: a thread that waits for a buffered stream cannot be left behind at exit.
        raw = getattr(getattr(sys.stdin, "buffer", None), "raw", None) if self.is_slow else None
        given = self._options
        return expand(
            given.images,
            files_from=given.files_from,
            null=given.null,
            include=given.include,
            stdin=raw,
            program=self._program,
            passed_over=self.passed_over if tells else lambda path, why: None,
            column=given.column,
            opens=opens,
            unpacks=self._unpacks,
        )

    def count_into(self, progress: Progress, is_answered: Callable[[str], bool]) -> None:
        """Counts the images in the background, where that is possible, for the progress line."""
        if self.is_slow:
            return

        def count() -> None:
            again = Sources(self._options)
            again.excluded, again._first = self.excluded, again._expand(opens=False)
            total = 0
            for item in again.inputs():
                if not item.is_known:
                    return  # nothing is fetched or unpacked twice
                total += not is_answered(item.name)
            progress.total = total

        threading.Thread(target=count, daemon=True).start()


def real_path(path: str) -> str:
    """The path without links; as it is where one cannot be read."""
    try:
        return os.path.realpath(path)
    except OSError:
        return path


def is_in(path: str | Path, folders: list[str], known: dict[str, bool]) -> bool:
    """Whether a file lies below one of these folders, asked once for each folder that holds files."""
    folder = os.path.dirname(path)
    if folder not in known:
        parents = [folder, *map(str, Path(os.path.realpath(folder)).parents)]
        known[folder] = any(same_file(parent, other) for parent in parents for other in folders)
    return known[folder]


def in_background(inputs: Iterable[Any]) -> Iterator[Any]:
    """The inputs, read in a thread; ``PENDING`` where the next is not known yet, so that answers are not held up."""
    from queue import Empty, Full, Queue

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


def files_of(inputs: Iterable[Input]) -> FileSet:
    return FileSet(item.path for item in inputs if item.path is not None)


def looks_like_a_photo(path: str) -> bool:
    """Whether a file would be taken from a folder, or begins as an image does."""
    from aicli.image.formats import HEAD_BYTES, SUFFIXES, identify

    suffix = os.path.splitext(path)[1].lower()
    try:
        with open(path, "rb") as file:
            return suffix in SUFFIXES or identify(file.read(HEAD_BYTES), suffix) is not None
    except OSError:
        return suffix in SUFFIXES
