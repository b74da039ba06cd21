"""Fetching one file: from a folder or over HTTP, resumed where it broke off, bounded in size, never used half."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from aicli._text import counted
from aicli.errors import AicliError, FetchError

if TYPE_CHECKING:
    from aicli.catalog.web import Answer

__all__ = ["Progress", "fetch"]

Progress = Callable[[str, int, "int | None"], None]
"""Called with the file's name, the bytes so far and the bytes in all (``None`` where nobody knows)."""

BLOCK = 256 << 10
ATTEMPTS = 4
PAUSE = 0.5  # seconds before the second attempt; doubled for each further one
WORTHWHILE = 64 << 10  # bytes by which an attempt must have got on to count as none
TIMEOUT = 30.0  # seconds without a byte
MAX_UNKNOWN = 1 << 30  # bytes of a file whose size the catalog does not know


def fetch(address: str, part: Path, size: int | None, progress: Progress | None, name: str) -> None:
    """Completes ``part`` from a folder's path, a file: or an http(s): address.

    Bytes that are already there are kept where the server can go on from them. ``size`` is the whole file's in bytes.
    Raises :class:`FetchError`; what has been fetched until then stays for the next attempt.
    """
    report = progress or _silent
    if not address.startswith(("http://", "https://")):
        _copy(Path(address), part, size, report, name)
        return
    from aicli.catalog.web import Interrupted

    attempt = 1
    while True:
        before = _bytes_here(part)
        try:
            _download(address, part, size, report, name)
            return
        except Interrupted as error:
            if _bytes_here(part) > before + WORTHWHILE:
                attempt = 0  # a bad line that gets on is a reason to go on
            if attempt == ATTEMPTS:
                raise FetchError(f"{address}: {error}") from None
        time.sleep(PAUSE * 2**attempt / 2)
        attempt += 1


def _silent(name: str, done: int, total: int | None) -> None:
    pass


def _copy(source: Path, part: Path, size: int | None, report: Progress, name: str) -> None:
    try:
        with source.open("rb") as stream, _writing(part, keep=False) as target:
            total = os.fstat(stream.fileno()).st_size
            _pour(iter(lambda: stream.read(BLOCK), b""), target, 0, size, report, name, total)
    except OSError as error:
        raise FetchError(f"{source}: {error.strerror or error}") from None


def _download(address: str, part: Path, size: int | None, report: Progress, name: str) -> None:
    from aicli.catalog.web import Interrupted, get

    have = _bytes_here(part)
    if size is not None and have >= size:  # complete, or rubbish: the caller's checksum tells
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": "aicli"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with get(address, headers, TIMEOUT) as answer:
        begin = _check_answer(answer, address, part, have)
        total = _total(answer, begin, size, address)
        with _writing(part, keep=begin > 0) as target:
            done = _pour(answer.blocks(), target, begin, size, report, name, total)
    if total is not None and done < total:
        raise Interrupted(f"the transfer ended after {done} of {counted(total, 'byte')}")


def _check_answer(answer: Answer, address: str, part: Path, have: int) -> int:
    """Where in the file the body begins. Raises for anything but the file."""
    from aicli.catalog.web import Interrupted

    status = answer.status
    if status == 206 and have:
        if answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            return have
        part.unlink(missing_ok=True)
        raise Interrupted("the server sent another part of the file than it was asked for")
    if status == 416 and have:
        part.unlink(missing_ok=True)
        raise Interrupted("the file has become shorter since the last attempt")
    if status in (429, 500, 502, 503, 504):
        raise Interrupted(f"the server answered {status}")
    if status != 200:
        raise FetchError(f"{address}: the server answered {status} {answer.reason}".rstrip())
    return 0


def _total(answer: Answer, begin: int, size: int | None, address: str) -> int | None:
    """The bytes of the whole file. Raises :class:`FetchError` when the server has another length than the catalog."""
    length = answer.headers.get("Content-Length", "")
    if not length.isdigit() or "Content-Encoding" in answer.headers:
        return size
    total = begin + int(length)
    if size is not None and total != size:
        raise FetchError(f"{address}: this is not the file of the catalog: it has {counted(total, 'byte')}, not {size}")
    return total


def _bytes_here(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _pour(
    blocks: Iterator[bytes],
    target: BinaryIO,
    done: int,
    size: int | None,
    report: Progress,
    name: str,
    total: int | None,
) -> int:
    """Writes the blocks after the ``done`` bytes that are there; returns how many there are at the end."""
    limit = size if size is not None else MAX_UNKNOWN
    report(name, done, total)
    for block in blocks:
        done += len(block)
        if done > limit:
            target.truncate(0)
            raise FetchError(f"{name}: the file is longer than the {limit} bytes that it should have")
        try:
            target.write(block)
        except OSError as error:
            raise _full(name, error) from None
        report(name, done, total)
    return done


def _full(name: str, error: OSError) -> AicliError:
    return AicliError(f"cannot write {name} to the folder of models: {error.strerror or error}")


@contextmanager
def _writing(part: Path, *, keep: bool) -> Iterator[BinaryIO]:
    try:
        stream = part.open("ab" if keep else "wb")
    except OSError as error:
        raise _full(part.name, error) from None
    try:
        with stream:
            yield stream
            try:
                stream.flush()
                os.fsync(stream.fileno())
            except OSError as error:
                raise _full(part.name, error) from None
    except AicliError as error:
        if not isinstance(error, FetchError):
            part.unlink(missing_ok=True)  # the disk is full: do not keep it so
        raise
