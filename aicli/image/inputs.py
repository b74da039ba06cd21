"""What the words on a command line name: files, folders, patterns, lists of names, or an image on standard input;
also archives of photos, addresses in buckets and columns of Parquet files.

Everything is lazy: a folder of a million photos, or a list that another program is still writing, is taken one name at
a time. What cannot be read is no exception here but an :class:`Input` that fails when it is opened.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from aicli._record import Record
from aicli._text import shown
from aicli.errors import Hint, ImageError, UsageError
from aicli.image.formats import HEAD_BYTES, identify, is_archive
from aicli.image.formats import SUFFIXES as IMAGE_SUFFIXES

if TYPE_CHECKING:
    from aicli.image.buckets import InBucket

__all__ = ["IMAGE_SUFFIXES", "Input", "expand", "is_one_photo"]

STDIN_NAME = "-"
CHUNK = 1 << 16
ONE_DIGIT = dict.fromkeys(range(ord("0"), ord("9") + 1), "0")
MOST_KINDS_OF_NAMES = 500
"""From so many on, merging lists takes longer than sorting one."""
NO_NAMES = ("JPEG", "PNG", "WebP", "AVIF", "HEIF")
"""Images that begin as no list of names does; ``P1.jpg`` begins as a PPM does."""
LONGEST_NAME = 1 << 16
"""So many bytes without the end of a name are no list of names."""


class Input(Record):
    """One image to answer: its name as it appears in results, and where its bytes are.

    ``path`` is ``None`` for standard input; ``problem`` says why there is nothing to open. Only a ``named`` one
    may be a pipe: one that lies in a folder would hold up the run until somebody writes into it. ``url`` is where it
    lies in a bucket. ``read`` gives the bytes of one inside another file, while the next is not asked for yet.
    ``stamp`` is what a bucket's listing says of its size and time.
    """

    name: str
    path: Path | None = None
    problem: ImageError | None = None
    named: bool = False
    url: str | None = None
    read: Callable[[], bytes] | None = None
    stamp: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether it is one image; not what an archive and its like are where they are not opened."""
        return self.name == STDIN_NAME or any((self.path, self.problem, self.url, self.read))

    def held(self) -> Input:
        """The same with its bytes in memory, where they could not be read any more when the next is asked for."""
        if self.read is None:
            return self
        try:
            data = self.read()
        except ImageError as error:
            return self.replace(read=None, problem=error)
        return self.replace(read=lambda: data)

    def source(self, stdin: BinaryIO | None = None) -> Path | bytes | InBucket:
        """What :func:`aicli.image.decode.open_image` takes, or what gives it. Raises :class:`ImageError`."""
        if self.problem is not None:
            raise self.problem
        if self.url is not None:
            from aicli.image.buckets import InBucket

            return InBucket(self.url)
        if self.read is not None:
            return self.read()
        if self.path is not None:
            return read_pipe(self.path, self.name) if self.named and is_pipe(self.path) else self.path
        if stdin is None:
            if sys.stdin is None or sys.stdin.isatty():
                raise ImageError("-: standard input is a terminal; pipe one image into it, or name a file")
            stdin = sys.stdin.buffer
        from aicli.image.reading import read_stream  # loads what names alone do not need

        return read_stream(stdin, STDIN_NAME)


def is_pipe(path: Path) -> bool:
    """Whether it is a named pipe or a process substitution, ``<(...)``."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def read_pipe(path: Path, name: str) -> bytes:
    from aicli.image.reading import read_stream

    try:
        with open(path, "rb") as stream:
            return read_stream(stream, name)
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror}); check the pipe").of(shown(name)) from None


def expand(
    arguments: Sequence[str],
    *,
    files_from: str | None = None,
    null: bool = False,
    include: Sequence[str] = (),
    stdin: BinaryIO | None = None,
    program: str = "aicli classify",
    passed_over: Callable[[str, str], None] = lambda path, why: None,
    column: str | None = None,
    opens: bool = True,
    unpacks: bool = True,
) -> Iterator[Input]:
    """Every image that the arguments name, in their order; then those of ``files_from``.

    A folder gives the images in it and below it in natural order (``img2`` before ``img10``): names with one of
    ``IMAGE_SUFFIXES``, or with ``include`` those like one of the patterns, upper and lower case alike. Hidden names are
    skipped; links are followed, but no folder is entered twice. An argument with ``*``, ``?`` or ``[`` that is no file
    is expanded as a pattern. ``files_from`` is a file of names of files and folders, one a line, or with ``null``
    between NULs; ``-`` is standard input. ``program`` is what the advice for an address pipes into; ``passed_over`` is
    told of each file of a folder that has no suffix of an image, and why of each image of an archive that is hidden or
    would lie outside.

    An archive (``is_archive``) gives the images in it; an address in a bucket the object, or as a folder or pattern the
    images below it. With ``column`` all names are Parquet files, or folders of them, and that column holds paths or the
    bytes of images. Without ``opens`` whatever would have to be fetched or unpacked is one Input that is not
    ``is_known``; without ``unpacks`` folders in buckets are listed, and archives and Parquet files are such an Input.

    Raises :class:`UsageError` when standard input is wanted twice or ``files_from`` cannot be read; while iterating,
    when it is not a list of names.
    """
    if files_from == STDIN_NAME and STDIN_NAME in arguments:
        raise UsageError("standard input (-) cannot be both an image and a list of names")
    if list(arguments).count(STDIN_NAME) > 1:
        raise UsageError("standard input is one image; '-' can be given once")
    if column is not None and STDIN_NAME in arguments:
        raise UsageError("a Parquet file cannot be read from standard input; name it")
    if null and files_from is None:
        raise UsageError("names that end with NUL are those of a list", hint=Hint("files_from", "name it with {}"))
    names = None if files_from is None else listed(open_list(files_from, stdin), null, files_from)
    return _expand(arguments, names, Choice(tuple(include), program, passed_over, column, opens, opens and unpacks))


def open_list(name: str, stdin: BinaryIO | None) -> BinaryIO:
    if name == STDIN_NAME:
        return stdin or sys.stdin.buffer
    try:
        return open(name, "rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{shown(name)}: cannot be read ({reason})", hint=Hint("files_from", "{} takes a file of names, or '-'")
        ) from error


class Choice(Record):
    """What is taken of a folder, and what is said of the rest; see :func:`expand`."""

    include: tuple[str, ...]
    program: str
    passed_over: Callable[[str, str], None]
    column: str | None = None
    opens: bool = True
    unpacks: bool = True

    def inside(self) -> Choice:
        """What is taken of an archive: patterns for archives have chosen it already."""
        return self.replace(include=tuple(pattern for pattern in self.include if not is_archive(pattern)))

    def wants(self, path: str) -> bool:
        name = os.path.basename(path)
        if self.include:
            return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in self.include)
        return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES

    def takes(self, path: str) -> bool:
        """Whether it is wanted; what is none by its suffix is said to be passed over."""
        wanted = self.wants(path)
        if not wanted and not self.include:
            self.passed_over(path, "")
        return wanted

    def passes(self, path: str, why: str) -> None:
        """Says why an image is passed over, if it is wanted."""
        if self.wants(path):
            self.passed_over(path, why)


def _expand(arguments: Sequence[str], names: Iterator[str] | None, choice: Choice) -> Iterator[Input]:
    for argument in arguments:
        yield from expand_one(argument, choice)
    for name in names or ():
        yield from take(name, choice)


def expand_one(argument: str, choice: Choice) -> Iterator[Input]:
    if argument == STDIN_NAME:
        yield Input(STDIN_NAME)
    elif is_address(argument) or not has_pattern(argument) or os.path.lexists(argument):
        yield from take(argument, choice)
    else:
        import glob

        names = sorted(glob.iglob(argument, recursive=True), key=natural_key)
        if not names:
            yield Input(
                argument, problem=ImageError("no file matches this pattern; check the path").of(shown(argument))
            )
        for name in names:
            yield from take(name, choice)


def take(name: str, choice: Choice) -> Iterator[Input]:
    """A file, or the images of a folder."""
    if not name:  # as a Path, this would be the current folder
        yield Input(name, problem=ImageError("an empty name; check the quotes").of("''"))
    elif choice.column is not None:
        yield from take_rows(name, choice.column, choice)
    elif os.path.isdir(name):
        yield from walk(name, choice)
    elif is_in_bucket(name):
        yield from take_address(name, choice)
    elif is_address(name):
        import shlex

        how = f"curl -fsSL {shlex.quote(name)} | {choice.program} -"
        yield Input(name, problem=ImageError(f"an address, not a file; {shown(how)}").of(shown(name)))
    elif is_archive(name) and os.path.isfile(name):
        yield from take_members(name, choice)
    else:
        yield Input(name, Path(name), named=True)


def take_members(name: str, choice: Choice, stamp: str | None = None) -> Iterator[Input]:
    """The images in an archive."""
    if not choice.unpacks:
        yield Input(name, stamp=stamp)
        return
    from aicli.image.packed import members

    nothing, inside = True, choice.inside()
    try:
        for member, read in members(name, inside.takes, inside.passes):
            nothing = False
            yield Input(member, read=read)
        if nothing:
            raise ImageError("no images in this archive; check the file").of(shown(name))
    except ImageError as error:
        yield Input(name, problem=error)


def take_address(name: str, choice: Choice) -> Iterator[Input]:
    """An object of a bucket, or the images below a folder or pattern there."""
    if is_one_photo(name):  # not asked about: a list may name a million
        yield Input(name, url=name)
    elif not choice.opens:
        yield Input(name)
    elif is_archive(name) and not has_pattern(name):
        yield from take_members(name, choice)
    else:
        nothing = True
        try:
            for address, in_folder, stamp in listed_addresses(name):
                if in_folder and not choice.takes(address):
                    continue
                nothing = False
                if is_archive(address):
                    yield from take_members(address, choice, stamp)
                else:
                    yield Input(address, url=address, stamp=stamp)
            if nothing:
                raise ImageError("no images in this folder; check the address").of(shown(name))
        except ImageError as error:
            yield Input(name, problem=error)


def take_rows(name: str, column: str, choice: Choice) -> Iterator[Input]:
    """What a column of a Parquet file names or holds; of a folder that of each Parquet file in it."""
    from aicli.image.packed import rows

    files = choice.replace(column=None, opens=True, unpacks=True, include=choice.include or ("*.parquet",))
    found: Iterable[Input] = [Input(name, Path(name))]
    if is_in_bucket(name):
        found = take_address(name, files) if choice.opens else [Input(name)]
    elif os.path.isdir(name):
        found = walk(name, files)
    for file in found:
        if file.problem is not None or not choice.unpacks:
            yield file if file.problem is not None else Input(file.name, stamp=file.stamp)
            continue
        try:
            for row, value in rows(file.name, column):
                if isinstance(value, str):
                    yield from take(value, choice.replace(column=None))
                elif value is None:
                    yield Input(row, problem=ImageError("null; there is no photo in this row").of(shown(row)))
                else:
                    yield Input(row, read=lambda value=value: value)  # type: ignore[misc]
        except ImageError as error:
            yield Input(file.name, problem=error)


def listed_addresses(name: str) -> list[tuple[str, bool, str]]:
    from aicli.image.buckets import list_bucket

    return sorted(list_bucket(name), key=lambda found: natural_key(found[0]))


def is_in_bucket(name: str) -> bool:
    if not is_address(name):
        return False
    from aicli.image.buckets import is_in_bucket  # loads what names alone do not need

    return is_in_bucket(name)


def has_pattern(name: str) -> bool:
    return any(special in name for special in "*?[")


def is_one_photo(name: str) -> bool:
    """Whether an address in a bucket is that of one image, by its suffix."""
    return not has_pattern(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_address(name: str) -> bool:
    return "://" in name and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name) is not None and not os.path.lexists(name)


def walk(folder: str, choice: Choice) -> Iterator[Input]:
    """The images below a folder, each folder once: links may form loops, and many ways may lead to one place.

    The levels are a list instead of nested calls, which Python limits to fewer than a path can have.
    """
    nothing = True
    entered: set[tuple[int, int]] = set()
    levels = [iter([folder])]
    while levels:
        path = next(levels[-1], None)
        if path is None:
            levels.pop()
        elif os.path.isdir(path):
            try:
                levels.append(iter(entries(path, entered)))
            except OSError as error:
                nothing = False
                yield Input(
                    path,
                    problem=ImageError(f"cannot read the folder ({error.strerror}); check its permissions").of(
                        shown(path)
                    ),
                )
        elif choice.takes(path):
            nothing = False
            if is_archive(path):
                yield from take_members(path, choice)
            else:
                yield Input(path, Path(path))
    if nothing:
        wanted = " or ".join(choice.include) if choice.include else "*.jpg, *.png and so on"
        reason = ImageError(f"no images in this folder ({shown(wanted)}); check the path")
        yield Input(folder, problem=reason.of(shown(folder)))


def entries(folder: str, entered: set[tuple[int, int]]) -> Iterator[str]:
    """The paths in a folder that are not hidden, in natural order; none if the folder was ``entered`` before."""
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in entered:
        return iter(())
    entered.add(identity)
    names = [name for name in os.listdir(folder) if not name.startswith(".")]
    return (os.path.join(folder, name) for name in in_natural_order(names))


def in_natural_order(names: list[str]) -> Iterator[str]:
    """The names by :func:`natural_key`, which takes longer than all else where there are many; so it is asked late.

    Names that differ in nothing but digits, place by place, are in natural order when they are in that of characters.
    """
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(name.translate(ONE_DIGIT), []).append(name)
        if len(alike) > MOST_KINDS_OF_NAMES:
            return iter(sorted(names, key=natural_key))
    return merge(*map(sorted, alike.values()), key=natural_key)


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts numbers inside names by their value, letters without regard to case."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts], name


def listed(stream: BinaryIO, null: bool, list_name: str) -> Iterator[str]:
    """The names in a list, which is closed at the end unless it is standard input."""
    try:
        yield from read_names(stream, null, shown(list_name))
    finally:
        if list_name != STDIN_NAME:
            stream.close()


def read_names(stream: BinaryIO, null: bool, list_name: str) -> Iterator[str]:
    """Names from a stream as they arrive, empty ones skipped; undecodable bytes survive as the system names them."""
    separator = b"\0" if null else b"\n"
    rest = read_some(stream).removeprefix(b"\xef\xbb\xbf")
    kind = identify(rest[:HEAD_BYTES])
    if kind in NO_NAMES:
        what = f"{list_name}: a {kind} image, not a list of names"
        raise UsageError(what, hint=Hint("files_from", "name it without {}"))
    while rest:
        *names, rest = rest.split(separator)
        yield from decode_names(names, null, list_name)
        if len(rest) > LONGEST_NAME:
            raise UsageError(f"{list_name}: not a list of names; give one name a line, or names between NULs and -0")
        chunk = read_some(stream)
        if not chunk:
            break
        rest += chunk
    yield from decode_names([rest], null, list_name)


def read_some(stream: BinaryIO) -> bytes:
    read1 = getattr(stream, "read1", None)
    data: bytes = read1(CHUNK) if read1 is not None else stream.read(CHUNK)
    return data


def decode_names(names: Iterable[bytes], null: bool, list_name: str) -> Iterator[str]:
    for name in names:
        if not null:
            name = name.removesuffix(b"\r")
            if b"\0" in name:
                raise UsageError(f"{list_name}: names between NULs, not one a line; give -0 too")
        if name:
            yield os.fsdecode(name)
