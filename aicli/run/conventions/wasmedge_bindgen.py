"""wasmedge_bindgen in its three generations: arguments in a frame of pointers and lengths, results with their types.

The first two hand their result to host functions, the third points at it: ``u8 flag, u32 pointer, u32 length``, where
the flag tells records of results from the text of an error.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from aicli._text import printable
from aicli.errors import GuestFault
from aicli.run.conventions.base import Convention, Described, Guest, failure, functions_of, shape
from aicli.run.conventions.returned import ReturningConvention
from aicli.run.values import Argument, Number, Value
from aicli.wasm.runtime import ExternType

__all__ = ["WasmedgeBindgen", "WasmedgeBindgenReturning"]

ALLOCATE, DEALLOCATE = "allocate", "deallocate"
I32 = "i32"
ALLOCATORS = {ALLOCATE: ((I32,), (I32,)), DEALLOCATE: ((I32, I32), ())}
FRAME = (I32, I32)

SCALARS = {1: "<B", 2: "<b", 3: "<H", 4: "<h", 5: "<I", 6: "<i", 7: "<Q", 8: "<q", 9: "<f", 10: "<d", 11: "<?"}
CHAR, U8_ARRAY, STRING = 12, 21, 31
ARRAYS = {22: "b", 23: "H", 24: "h", 25: "I", 26: "i", 27: "Q", 28: "q"}
"""The numbers that the crate gives to the types of results (its source, ``RetTypes``)."""

ANSWER = struct.Struct("<BII")
RECORD = struct.Struct("<III")
MAX_RESULTS = 256
"""Far more than a tuple in Rust has."""
MAX_NUMBERS = 1 << 22
"""Numbers in arrays: each of them takes some ten times as much memory here as in the guest."""
MAX_BYTES = 1 << 30
"""Bytes of all results together: records may name the same memory many times."""


def has_allocators(module: Described) -> bool:
    exports = {item.name: shape(item) for item in module.exports if item.kind == "func"}
    return all(exports.get(name) == kind for name, kind in ALLOCATORS.items())


def fill_frame(guest: Guest, arguments: Sequence[Argument]) -> int:
    """The arguments in the guest's memory; the address of the frame, which the guest frees with what it names."""
    places = []
    for argument in arguments:
        if isinstance(argument, Number):
            data, length = argument.packed(), 1
        else:
            data = argument if isinstance(argument, bytes) else argument.encode()
            length = len(data)
        places.append(struct.pack("<II", allocated(guest, data), length))
    return allocated(guest, b"".join(places))


def allocated(guest: Guest, data: bytes) -> int:
    return guest.put(data, lambda length: guest.call(ALLOCATE, length))


def read_records(guest: Guest, pointer: int, count: int) -> list[Value]:
    """Results by their records. Raises :class:`GuestFault` when they are none."""
    if count > MAX_RESULTS:
        raise GuestFault(f"the guest answered {count} values; at most {MAX_RESULTS} are possible")
    records = list(RECORD.iter_unpack(guest.view(pointer, RECORD.size * count)))
    if sum(size for _, _, size in records) > MAX_BYTES:
        raise GuestFault("the guest's values have more than a gigabyte together")
    numbers = sum(size // struct.calcsize(ARRAYS[kind]) for _, kind, size in records if kind in ARRAYS)
    if numbers > MAX_NUMBERS:
        raise GuestFault(f"the guest answered {numbers} numbers; at most {MAX_NUMBERS} are possible, or bytes")
    return [read_value(guest, *record) for record in records]


def read_value(guest: Guest, pointer: int, kind: int, size: int) -> Value:
    if kind in (U8_ARRAY, STRING):
        return guest.read(pointer, size)
    if kind in SCALARS:
        scalar = SCALARS[kind]
        value: int | float = struct.unpack(scalar, guest.view(pointer, struct.calcsize(scalar)))[0]
        return value
    if kind == CHAR:
        code = guest.words(pointer, 1)[0]
        return chr(code).encode("utf-8", "replace") if code < 0x110000 else b""
    if kind in ARRAYS:
        data, each = guest.view(pointer, size), struct.calcsize(ARRAYS[kind])
        if size % each:
            raise GuestFault(f"the guest answered {size} bytes for numbers of {each} bytes")
        return [number for (number,) in struct.iter_unpack(f"<{ARRAYS[kind]}", data)]
    raise GuestFault(f"the guest answered a value of type {kind}, which wasmedge_bindgen does not have")


class WasmedgeBindgen(Convention):
    title = "wasmedge_bindgen"

    @classmethod
    def callables(cls, module: Described) -> dict[str, ExternType]:
        if not has_allocators(module):
            return {}
        return {name: item for name, item in functions_of(module).items() if shape(item) == (FRAME, (I32,))}

    def call(self, guest: Guest, item: ExternType, arguments: Sequence[Argument], returns: str) -> list[Value]:
        place = guest.call(item.name, fill_frame(guest, arguments), len(arguments))
        flag, pointer, length = ANSWER.unpack(guest.view(place, ANSWER.size))
        guest.call(DEALLOCATE, place, ANSWER.size)
        if flag == 0:
            return read_records(guest, pointer, length)
        if flag == 1:
            raise failure(item, guest.read(pointer, length))
        raise GuestFault(f"{printable(item.name)} answered with the flag {flag}, which wasmedge_bindgen does not have")


class WasmedgeBindgenReturning(ReturningConvention):
    """The generations of 2021-12, whose answers are bytes, and of 2022, whose answers may be records."""

    title = "wasmedge_bindgen of 2021 and 2022"
    modules = ("env", "wasmedge-bindgen")

    @classmethod
    def callables(cls, module: Described) -> dict[str, ExternType]:
        if not has_allocators(module) or cls.returns(module) is None:
            return {}
        return {name: item for name, item in functions_of(module).items() if shape(item) == (FRAME, ())}

    def read_result(self, guest: Guest, owner: str, pointer: int, length: int) -> list[Value]:
        # Under its own module's name the crate first handed over bytes, later as many records; only what they
        # say tells them apart.
        if owner != "env" and 0 < length <= MAX_RESULTS:
            try:
                return read_records(guest, pointer, length)
            except GuestFault:
                pass
        return super().read_result(guest, owner, pointer, length)

    def call(self, guest: Guest, item: ExternType, arguments: Sequence[Argument], returns: str) -> list[Value]:
        return self.ask(guest, item, fill_frame(guest, arguments), len(arguments))
