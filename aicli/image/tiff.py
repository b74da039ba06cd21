"""The directories of a TIFF, and of the raw photos that are laid out like one: pages, reduced pictures, subdirectories.

TIFF 6.0, section 2; TIFF/EP and DNG for ``SubIFDs`` and ``NewSubfileType``.
"""

from __future__ import annotations

import struct
from typing import IO

__all__ = ["Directory", "pages", "read_directories"]

_SIZES = {1: 1, 3: 2, 4: 4, 13: 4}
_LETTERS = {1: "B", 3: "H", 4: "I", 13: "I"}
_MOST_DIRECTORIES = 2000
_MOST_ENTRIES = 1000
_MOST_VALUES = 64
NEW_SUBFILE_TYPE, SUB_IFDS = 254, 330
_REDUCED_OR_MASK = 1 | 4


class Directory(dict[int, tuple[int, ...]]):
    """The whole numbers of an image file directory by tag.

    ``offset`` is where it lies, ``page`` its place in the chain, ``None`` for a subdirectory.
    """

    def __init__(self, offset: int, page: int | None) -> None:
        super().__init__()
        self.offset, self.page = offset, page

    def first(self, tag: int, default: int = 0) -> int:
        values = self.get(tag)
        return values[0] if values else default

    @property
    def is_reduced(self) -> bool:
        """Whether it holds a smaller copy or a mask of another picture."""
        return bool(self.first(NEW_SUBFILE_TYPE) & _REDUCED_OR_MASK)


def read_directories(stream: IO[bytes]) -> list[Directory]:
    """Every directory of the chain and the subdirectories of each, as far as the file is whole; none of a BigTIFF."""
    stream.seek(0)
    head = stream.read(8)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8 or head[2:4] in (b"+\0", b"\0+"):
        return []
    found: list[Directory] = []
    seen: set[int] = set()
    (offset,) = struct.unpack_from(order + "I", head, 4)
    page = 0
    while offset and offset not in seen and len(found) < _MOST_DIRECTORIES:
        seen.add(offset)
        directory, following = _read(stream, order, offset, page)
        found.append(directory)
        for inner in directory.get(SUB_IFDS, ())[:_MOST_VALUES]:
            if inner and inner not in seen and len(found) < _MOST_DIRECTORIES:
                seen.add(inner)
                found.append(_read(stream, order, inner, None)[0])
        offset, page = following, page + 1
    stream.seek(0)
    return found


def _read(stream: IO[bytes], order: str, offset: int, page: int | None) -> tuple[Directory, int]:
    """A directory, and the offset of the next one in the chain."""
    directory = Directory(offset, page)
    stream.seek(offset)
    head = stream.read(2)
    if len(head) < 2:
        return directory, 0
    count = min(struct.unpack(order + "H", head)[0], _MOST_ENTRIES)
    table = stream.read(12 * count + 4)
    for at in range(0, min(12 * count, len(table) - 11), 12):
        tag, kind, number = struct.unpack_from(order + "HHI", table, at)
        if kind not in _SIZES or not number:
            continue
        number = min(number, _MOST_VALUES)
        values = table[at + 8 : at + 12]
        if number * _SIZES[kind] > 4:
            stream.seek(struct.unpack(order + "I", values)[0])
            values = stream.read(number * _SIZES[kind])
        if len(values) >= number * _SIZES[kind]:
            directory[tag] = struct.unpack_from(f"{order}{number}{_LETTERS[kind]}", values)
    following = table[12 * count :]
    return directory, struct.unpack(order + "I", following)[0] if len(following) == 4 else 0


def pages(directories: list[Directory]) -> list[int]:
    """Places in the chain of the pictures that are no smaller copies of others; all if they all say they are."""
    chain = [directory for directory in directories if directory.page is not None]
    whole = [directory for directory in chain if not directory.is_reduced]
    return [directory.page for directory in whole or chain if directory.page is not None]
