"""What the words on a command line name: files, folders, patterns, lists of names, or an image on standard input.

Everything is lazy: a folder of a million photos, or a list that another program is still writing, is taken one name at
a time. What cannot be read is no exception here but an :class:`Input` that fails when it is opened.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import BinaryIO

from aicli.errors import ImageError, UsageError

__all__ = ["IMAGE_SUFFIXES", "Input", "expand"]

IMAGE_SUFFIXES = frozenset(
    ".avif .bmp .dib .gif .heic .heif .hif .ico .j2k .jfif .jp2 .jpe .jpeg .jpg .mpo .pbm .pgm .png .ppm .tga .tif .tiff"
    " .webp".split()
)
"""From folders only files with one of these suffixes are taken, in any case; a file named on its own is always tried."""

STDIN_NAME = "-"
CHUNK = 1 << 16


@dataclass(frozen=True)
class Input:
    """One image to answer: its name as it appears in results, and where its bytes are.

    ``path`` is ``None`` for standard input; ``problem`` says why there is nothing to open.
    """

    name: str
    path: Path | None = None
    problem: str | None = None

    def source(self, stdin: BinaryIO | None = None) -> Path | bytes:
        """What :func:`aicli.images.open_image` takes. Raises :class:`ImageError`."""
        if self.problem is not None:
            raise ImageError(self.problem)
        if self.path is not None:
            return self.path
        data = (stdin or sys.stdin.buffer).read()
        if not data:
            raise ImageError("-: standard input is empty; pipe one image into it")
        return data


def expand(
    arguments: Sequence[str],
    *,
    files_from: str | None = None,
    null: bool = False,
    include: Sequence[str] = (),
    stdin: BinaryIO | None = None,
) -> Iterator[Input]:
    """Every image that the arguments name, in their order; then those of ``files_from``.

    A folder gives its images recursively in natural order (``img2`` before ``img10``), hidden ones skipped; with
    ``include`` those whose names match one of the patterns. An argument with ``*``, ``?`` or ``[`` that is no file is
    expanded as a pattern. ``files_from`` is a file of names, one a line, or with ``null`` between NULs; ``-`` is
    standard input. Raises :class:`UsageError` when standard input is wanted twice or ``files_from`` cannot be read.
    """
    if files_from == STDIN_NAME and STDIN_NAME in arguments:
        raise UsageError("standard input cannot be both an image (-) and a list of names (--files-from -)")
    if list(arguments).count(STDIN_NAME) > 1:
        raise UsageError("standard input is one image; '-' can be given once")
    if null and files_from is None:
        raise UsageError("-0 says how the names in --files-from end; give --files-from too")
    if files_from not in (None, STDIN_NAME) and not os.access(files_from, os.R_OK):
        raise UsageError(f"{files_from}: cannot be read; --files-from takes a file of names, or '-'")
    return _expand(arguments, files_from, null, include, stdin)


def _expand(
    arguments: Sequence[str], files_from: str | None, null: bool, include: Sequence[str], stdin: BinaryIO | None
) -> Iterator[Input]:
    for argument in arguments:
        yield from expand_one(argument, include)
    if files_from == STDIN_NAME:
        for name in read_names(stdin or sys.stdin.buffer, null):
            yield Input(name, Path(name))
    elif files_from is not None:
        with open(files_from, "rb") as stream:
            for name in read_names(stream, null):
                yield Input(name, Path(name))


def expand_one(argument: str, include: Sequence[str]) -> Iterator[Input]:
    if argument == STDIN_NAME:
        yield Input(STDIN_NAME)
    elif os.path.isdir(argument):
        yield from walk(argument, include, set())
    elif not os.path.lexists(argument) and glob.has_magic(argument):
        names = sorted(glob.glob(argument, recursive=True), key=natural_key)
        if not names:
            yield Input(argument, problem=f"{argument}: no file matches this pattern")
        for name in names:
            yield from walk(name, include, set()) if os.path.isdir(name) else [Input(name, Path(name))]
    else:
        yield Input(argument, Path(argument))


def walk(folder: str, include: Sequence[str], above: set[tuple[int, int]]) -> Iterator[Input]:
    """The images below a folder; a link that leads back to a folder above is not followed."""
    try:
        status = os.stat(folder)
        with os.scandir(folder) as found:
            entries = sorted((entry.name for entry in found if not entry.name.startswith(".")), key=natural_key)
    except OSError as error:
        yield Input(folder, problem=f"{folder}: cannot read the folder ({error.strerror}); check its permissions")
        return
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    for name in entries:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            yield from walk(path, include, above | {identity})
        elif is_wanted(name, include):
            yield Input(path, Path(path))


def is_wanted(name: str, include: Sequence[str]) -> bool:
    if include:
        return any(fnmatch(name.lower(), pattern.lower()) for pattern in include)
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts numbers inside names by their value."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in re.split(r"(\d+)", name)]


def read_names(stream: BinaryIO, null: bool) -> Iterator[str]:
    """Names from a stream as they arrive, empty ones skipped; undecodable bytes survive as the system names them."""
    separator = b"\0" if null else b"\n"
    rest = b""
    for chunk in iter(lambda: read_some(stream), b""):
        *names, rest = (rest + chunk).split(separator)
        yield from decode_names(names, null)
    yield from decode_names([rest], null)


def read_some(stream: BinaryIO) -> bytes:
    read1 = getattr(stream, "read1", None)
    data: bytes = read1(CHUNK) if read1 is not None else stream.read(CHUNK)
    return data


def decode_names(names: Iterable[bytes], null: bool) -> Iterator[str]:
    for name in names:
        if not null:
            name = name.removesuffix(b"\r")
        if name:
            yield os.fsdecode(name)
