"""The bytes of an image: a regular file, or a stream that is read to its end; and in words what is neither."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from aicli._text import shown
from aicli.errors import Hint, ImageError, ImageTooLargeError
from aicli.image.formats import HEAD_BYTES, foreign_kind, identify

__all__ = ["MAX_STREAM_BYTES", "one_line", "open_file", "read_stream", "require_kind", "stream_name"]

MAX_STREAM_BYTES = 1 << 30
"""The most bytes that are read from a stream, which may have no end."""


@contextmanager
def open_file(path: str, label: str) -> Iterator[BinaryIO]:
    """A regular file. Raises ImageError."""
    try:
        # Asked before opening, because opening a device can already do something, and opening a named pipe waits.
        require_regular(os.stat(path).st_mode, label)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
        with open(path, "rb", opener=lambda file, _: os.open(file, flags | getattr(os, "O_CLOEXEC", 0))) as stream:
            status = os.fstat(stream.fileno())
            require_regular(status.st_mode, label)
            yield stream
    except OSError as error:
        raise ImageError(f"{os_reason(error, path)}").of(shown(label)) from error
    except ValueError as error:  # a NUL in the path
        raise ImageError(f"not a file name ({error}); check the path").of(shown(label)) from error


def require_regular(mode: int, label: str) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise ImageError("a folder, not an image; give the image files in it").of(shown(label))
    kinds = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    kind = next((words for test, words in kinds if test(mode)), "a device")
    raise ImageError(f"{kind}, not an image file; pipe the image to standard input and give '-'").of(shown(label))


def os_reason(error: OSError, path: str) -> str:
    if error.errno == errno.ENOENT:
        if "://" in path:
            return "an address, not a file; download the image first"
        if os.path.islink(path):
            return "a link to a file that does not exist; check where it points"
        return "no such file; check the path"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission to read it; check the permissions of the file and its folders"
    if error.errno == errno.ELOOP:
        return "a link that leads back to itself; check where it points"
    return f"cannot be read ({error.strerror or error}); check the path and the disk"


def stream_name(stream: BinaryIO) -> str:
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else "<stream>"


def read_stream(stream: BinaryIO, name: str) -> bytes:
    """All bytes of an image on a stream, but no more than its first ones if they are no image's.

    Raises ImageError when there is no image on the stream, ImageTooLargeError beyond ``MAX_STREAM_BYTES``.
    """
    try:
        head = read_exactly(stream, HEAD_BYTES, name)
        require_kind(head, name, os.path.splitext(name)[1])
        data = head + read_exactly(stream, MAX_STREAM_BYTES + 1 - len(head), name)
    except (OSError, ValueError) as error:  # ValueError: closed
        raise ImageError(f"cannot be read ({one_line(error)}); check where it comes from").of(shown(name)) from error
    if len(data) > MAX_STREAM_BYTES:
        raise ImageTooLargeError(f"more than {MAX_STREAM_BYTES:,} bytes on a stream; save it as a file first").of(
            shown(name)
        )
    return data


def read_exactly(stream: BinaryIO, size: int, label: str) -> bytes:
    """Up to ``size`` bytes, fewer only at the end: a raw pipe hands out what it has."""
    chunks: list[bytes] = []
    while size > 0:
        chunk = cast("Any", stream).read(min(size, 1 << 22))
        if not chunk:
            break
        if not isinstance(chunk, bytes):
            raise ImageError("a text stream, not a binary one; open it with mode 'rb'").of(shown(label))
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def require_kind(head: bytes, label: str, suffix: str) -> str:
    if not head:
        raise ImageError("empty; nothing to decode, get the file again").of(shown(label))
    kind = identify(head, suffix)
    if kind is None:
        reason = foreign_kind(head) or "not an image, or a format that is not supported"
        hint = Hint("column", "{} reads the photos in it") if head.startswith(b"PAR1") else None
        raise ImageError(f"{reason}; give a JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP file", hint=hint).of(shown(label))
    return kind


def one_line(error: BaseException) -> str:
    return shown(" ".join(str(error).split())[:200] or type(error).__name__)
