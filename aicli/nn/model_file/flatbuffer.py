"""A reader of FlatBuffers that never trusts an offset: a damaged file raises :class:`DamagedError`, nothing else.

Source: the FlatBuffers binary format ("FlatBuffer Internals"). The generated readers of the ``flatbuffers`` package
check nothing and take 0.1 s to import; a model needs a dozen fields.
"""

from __future__ import annotations

import mmap
import struct
from typing import Any

__all__ = ["Buffer", "DamagedError", "Table", "root"]

Buffer = bytes | mmap.mmap


class DamagedError(ValueError):
    """The bytes are not the FlatBuffer that they claim to be."""


def scalar(data: Buffer, position: int, form: str) -> Any:
    """The little-endian number of ``form`` (a struct letter) at ``position``."""
    if position < 0:  # struct would count it from the end
        raise DamagedError(f"an offset points {-position} bytes before the file")
    try:
        return struct.unpack_from(f"<{form}", data, position)[0]
    except struct.error:
        raise DamagedError(f"an offset points to byte {position} of a file of {len(data)} bytes") from None


def root(data: Buffer, identifier: bytes) -> Table:
    """The root table of a FlatBuffer with this file identifier (4 bytes at offset 4)."""
    if bytes(data[4:8]) != identifier:
        raise DamagedError(f"it does not carry the identifier {identifier.decode()}")
    return Table(data, scalar(data, 0, "I"))


class Table:
    """A table at an absolute position; fields go by their number in the schema, counted from 0."""

    def __init__(self, data: Buffer, position: int) -> None:
        self._data = data
        self._position = position
        self._vtable = position - int(scalar(data, position, "i"))
        self._vtable_size = int(scalar(data, self._vtable, "H"))

    def _field(self, number: int) -> int:
        """The absolute position of a field; 0 where it is absent."""
        entry = 4 + 2 * number
        if entry + 2 > self._vtable_size:
            return 0
        offset = int(scalar(self._data, self._vtable + entry, "H"))
        return self._position + offset if offset else 0

    def number(self, field: int, form: str, default: int = 0) -> int:
        position = self._field(field)
        return int(scalar(self._data, position, form)) if position else default

    def table(self, field: int) -> Table | None:
        position = self._field(field)
        return Table(self._data, position + int(scalar(self._data, position, "I"))) if position else None

    def _vector(self, field: int, size: int) -> tuple[int, int]:
        """Where the elements of a vector begin and how many there are; (0, 0) where it is absent."""
        position = self._field(field)
        if not position:
            return 0, 0
        position += int(scalar(self._data, position, "I"))
        count = int(scalar(self._data, position, "I"))
        if position + 4 + count * size > len(self._data):
            raise DamagedError(f"a vector of {count} elements reaches beyond the file's {len(self._data)} bytes")
        return position + 4, count

    def numbers(self, field: int, form: str) -> tuple[Any, ...]:
        return self.number_vector(field, form)[1]

    def number_vector(self, field: int, form: str) -> tuple[int, tuple[Any, ...]]:
        """Where a vector of numbers begins, and the numbers."""
        begin, count = self._vector(field, struct.calcsize(f"<{form}"))
        return begin, struct.unpack_from(f"<{count}{form}", self._data, begin) if count else ()

    def count(self, field: int) -> int:
        """How many elements a vector of tables has."""
        return self._vector(field, 4)[1]

    def count_bytes(self, field: int) -> int:
        """How many elements a vector of bytes has."""
        return self._vector(field, 1)[1]

    def place(self, field: int, index: int) -> int:
        """The absolute position of an element of a vector of tables: its offset, counted from there."""
        begin, count = self._vector(field, 4)
        if not 0 <= index < count:
            raise DamagedError(f"element {index} of a vector of {count} is asked for")
        return begin + 4 * index

    def item(self, field: int, index: int) -> Table:
        """One element of a vector of tables."""
        position = self.place(field, index)
        return Table(self._data, position + int(scalar(self._data, position, "I")))

    def raw(self, field: int) -> bytes:
        """A vector of bytes."""
        begin, count = self._vector(field, 1)
        return bytes(self._data[begin : begin + count])

    def text(self, field: int) -> str:
        return self.raw(field).decode("utf-8", "replace")
