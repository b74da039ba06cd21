"""The zip that some exporters append to a model file, read where it lies.

Most hold a label file or two as they are, for which ``zipfile`` would load four compressors at every start. Such a zip
is read here; one that is not as plain as that is left to ``zipfile``, whatever it has.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aicli._record import Record
from aicli.nn.model_file.flatbuffer import Buffer

if TYPE_CHECKING:
    from zipfile import ZipFile

__all__ = ["Archive", "open_appended"]

END = struct.Struct("<4s4H2LH")
MEMBER = struct.Struct("<4s2x3H4x3L4H6xL")
LOCAL = struct.Struct("<4s2x2H16x2H")
ZIP64, ZIP64_BYTES = b"PK\x06\x07", 20
PLAIN_FLAGS = (0, 1 << 11)
"""Neither encrypted nor with sizes that follow the bytes; the second for a name in UTF-8."""
NEWEST = 63
"""The version of the format up to which ``zipfile`` reads."""


class Archive(Record):
    """How many bytes each file has, by its name, and what reads one: it unpacks no more bytes than these."""

    sizes: Mapping[str, int]
    read: Callable[[str], bytes]


class Member(Record):
    """Where a file lies, as it is, and its checksum."""

    place: int
    size: int
    crc: int


@contextmanager
def open_appended(file: Buffer) -> Iterator[Archive]:
    """The zip at the end of these bytes, of which no copy is made.

    Raises :class:`ValueError`, or what else ``zipfile`` raises, where there is none or it is damaged.
    """
    members = plain_members(file)
    if members is not None:
        sizes = {name: member.size for name, member in members.items()}
        yield Archive(sizes, lambda name: plain_bytes(file, name, members[name]))
        return
    import zlib
    from zipfile import BadZipFile, ZipFile

    try:
        with ZipFile(io.BufferedReader(_Stream(file))) as archive:
            sizes = {item.filename: item.file_size for item in archive.infolist()}
            yield Archive(sizes, lambda name: packed_bytes(archive, name))
    except (BadZipFile, zlib.error) as error:
        raise ValueError(str(error)) from None


def plain_members(file: Buffer) -> dict[str, Member] | None:
    """The files of a zip in which everything is as the simplest writer has it; ``None`` for any other."""
    end = len(file) - END.size
    if end < ZIP64_BYTES or file[end - ZIP64_BYTES : end].startswith(ZIP64):
        return None
    magic, disk, first, here, count, size, place, comment = END.unpack(file[end:])
    if (magic, disk, first, here, comment) != (b"PK\x05\x06", 0, 0, count, 0) or place + size != end:
        return None
    found: dict[str, Member] = {}
    directory = file[place:end]
    at = free = 0
    for _ in range(count):
        if at + MEMBER.size > size:
            return None
        magic, needs, flags, method, crc, packed, length, named, *rest, local = MEMBER.unpack_from(directory, at)
        name = directory[at + MEMBER.size : at + MEMBER.size + named]
        at += MEMBER.size + named
        if magic != b"PK\x01\x02" or needs > NEWEST or flags not in PLAIN_FLAGS or method or packed != length:
            return None
        if any(rest) or not name.isascii() or b"\0" in name or b"\\" in name:
            return None
        head = file[local : local + LOCAL.size + named]
        if len(head) != LOCAL.size + named:
            return None
        magic, its_flags, its_method, its_named, extra = LOCAL.unpack_from(head)
        begin = local + LOCAL.size + named + extra
        same = (magic, its_flags, its_method, its_named, head[LOCAL.size :]) == (b"PK\x03\x04", flags, 0, named, name)
        if not same or local < free or begin + length > place:
            return None
        free = begin + length
        found[name.decode()] = Member(begin, length, crc)
    return found if at == size else None


def plain_bytes(file: Buffer, name: str, member: Member) -> bytes:
    import zlib

    content = file[member.place : member.place + member.size]
    if zlib.crc32(content) != member.crc:
        raise ValueError(f"Bad CRC-32 for file {name!r}")
    return content


def packed_bytes(archive: ZipFile, name: str) -> bytes:
    """A file of a zip, which may be packed in the one way of which ``zipfile`` unpacks a part only (deflate).

    The others unpack all that a few bytes hold, which can be gigabytes, and each has errors of its own.
    """
    from zipfile import ZIP_DEFLATED, ZIP_STORED

    member = archive.getinfo(name)
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed by another method than deflate")
    with archive.open(member) as stream:
        return stream.read(member.file_size + 1)  # also of an empty file the checksum is compared


class _Stream(io.RawIOBase):
    """Bytes or a map of a file as a stream."""

    def __init__(self, file: Buffer) -> None:
        self._file, self._size, self._place = file, len(file), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence])
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, target: Any) -> int:
        part = self._file[self._place : self._place + len(target)]
        target[: len(part)] = part
        self._place += len(part)
        return len(part)
