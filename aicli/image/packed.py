"""Photos inside other files: the members of zip and tar archives, the rows of a Parquet column."""

from __future__ import annotations

import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import IO, Any

from aicli._text import shown
from aicli.errors import ImageError, UnavailableError, UsageError
from aicli.image.buckets import is_in_bucket, open_in_bucket
from aicli.image.reading import one_line, open_file, read_stream

__all__ = ["Packed", "members", "rows"]

BATCH = 16
"""Rows of a Parquet column in memory at a time: each may be a photo."""

Packed = tuple[str, Callable[[], bytes]]
"""The name of a photo, and what reads it, for a member of a tar not later than the next one is asked for."""

Member = tuple[str, "Callable[[], IO[bytes]] | str"]
"""The path of a member, and what opens it, or why it is not opened."""

NOT_FOLLOWED = "which is not followed in an archive; unpack it, and name the folder"

HIDDEN, OUTSIDE = "hidden", "outside the archive"
"""Why photos of an archive are passed over."""

ENCRYPTED = 1
"""Bit of a zip member's flags."""

BROKEN: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
)
BROKEN += (tarfile.TarError, zipfile.BadZipFile)


def opened(name: str) -> AbstractContextManager[IO[bytes]]:
    return open_in_bucket(name) if is_in_bucket(name) else open_file(name, name)


def members(name: str, takes: Callable[[str], bool], passes: Callable[[str, str], None]) -> Iterator[Packed]:
    """The photos of an archive in its order, named as if it were a folder. Raises :class:`ImageError`.

    ``passes`` is told of each member that nobody asks ``takes`` about, and why.
    """
    unpack = zip_members if name.lower().endswith(".zip") else tar_members
    with opened(name) as stream:
        try:
            for path, read in unpack(stream):
                member, unseen = f"{name}/{path.removeprefix('./').lstrip('/')}", unseen_as(path)
                if unseen:
                    passes(member, unseen)
                elif unseen is None and takes(member):
                    yield member, refusal(member, read) if isinstance(read, str) else reader(member, read)
        except BROKEN as error:
            raise broken(name, error) from None


def unseen_as(path: str) -> str | None:
    """Why a member is not looked at: ``HIDDEN``, ``OUTSIDE``, or nothing for what macOS writes beside every file."""
    parts = [part for part in path.split("/") if part != "."]
    if ".." in re.split(r"[/\\]", path):
        return OUTSIDE
    if any(part.startswith(("._", "__MACOSX")) for part in parts):
        return ""
    return HIDDEN if any(part.startswith(".") for part in parts) else None


def zip_members(stream: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            if info.flag_bits & ENCRYPTED:
                yield info.filename, "encrypted; unpack the archive with its password, and name the folder"
            elif stat.S_ISLNK(info.external_attr >> 16):
                yield info.filename, f"a link, {NOT_FOLLOWED}"
            elif not info.is_dir():
                yield info.filename, lambda info=info: archive.open(info)  # type: ignore[misc]


def tar_members(stream: IO[bytes]) -> Iterator[Member]:
    """As a stream: an archive in a bucket is fetched once, from its begin to its end."""
    with tarfile.open(fileobj=stream, mode="r|*") as archive:
        for info in archive:
            if info.isreg():
                yield info.name, lambda info=info: archive.extractfile(info)  # type: ignore[misc]
            elif info.issym() or info.islnk():
                yield info.name, f"a link to {shown(info.linkname)}, {NOT_FOLLOWED}"
            elif not info.isdir():
                yield info.name, "a device or a named pipe, not a file"
            archive.members = []  # type: ignore[attr-defined]  # else it keeps all of them


def reader(member: str, start: Callable[[], IO[bytes]]) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with start() as stream:
                return read_stream(stream, member)  # type: ignore[arg-type]
        except BROKEN as error:
            raise ImageError(f"cannot be unpacked ({one_line(error)}); check the archive").of(shown(member)) from None

    return read


def refusal(member: str, reason: str) -> Callable[[], bytes]:
    def refuse() -> bytes:
        raise ImageError(reason).of(shown(member))

    return refuse


def broken(name: str, error: BaseException) -> ImageError:
    return ImageError(f"a damaged or truncated archive ({one_line(error)}); get it again").of(shown(name))


def rows(name: str, column: str) -> Iterator[tuple[str, str | bytes | None]]:
    """A Parquet column: for each row its name (``FILE/ROW``, from 0) and a path, a photo's bytes, or ``None`` for null.

    A struct with the field ``bytes``, as in data sets for training, is taken for its bytes. Raises
    :class:`ImageError` where the file cannot be read, :class:`UsageError` for a column that holds neither.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        from aicli._extras import install_command

        raise UnavailableError(f"Parquet needs the package pyarrow; run: {install_command('data')}") from None
    number = 0
    with opened(name) as stream:
        try:
            with pq.ParquetFile(stream) as file:
                get = getter(name, column, file.schema_arrow)
                for batch in file.iter_batches(BATCH, columns=[column]):
                    for value in batch.column(0).to_pylist():
                        yield f"{name}/{number}", get(value)
                        number += 1
        except (pa.ArrowException, OSError) as error:
            raise ImageError(f"cannot be read as Parquet ({one_line(error)}); check the file").of(shown(name)) from None


def getter(name: str, column: str, schema: Any) -> Callable[[Any], str | bytes | None]:
    """What makes a path or bytes of a value of the column."""
    import pyarrow as pa

    if column not in schema.names:
        has = ", ".join(map(shown, schema.names))
        raise UsageError(f"there is no column {shown(column)}; it has {has}").of(shown(name))
    kind = schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return lambda value: None if value is None else value["bytes"]
    texts_and_bytes = ("is_string", "is_large_string", "is_binary", "is_large_binary", "is_fixed_size_binary")
    if not any(getattr(pa.types, test)(kind) for test in texts_and_bytes):
        raise UsageError(f"the column {shown(column)} holds {kind}, neither paths nor bytes").of(shown(name))
    return lambda value: value
