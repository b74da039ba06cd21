"""Reading and bounding WebAssembly modules as bytes, before any runtime compiles them.

Source: WebAssembly core specification, section 5 (binary format).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from aicli._record import Record
from aicli.errors import GuestError, GuestMemoryError, Hint

if TYPE_CHECKING:
    from aicli.wasm.runtime import Limits

__all__ = ["MAX_TABLES", "MAX_TABLE_ELEMENTS", "bound_sizes", "check_limits", "check_magic", "read_module"]

MAGIC = b"\0asm\x01\0\0\0"
COMPONENT = b"\0asm\x0d\0\x01\0"
PAGE = 65536
TYPE_SECTION, IMPORT_SECTION, FUNCTION_SECTION, TABLE_SECTION, MEMORY_SECTION, EXPORT_SECTION = 1, 2, 3, 4, 5, 7
FUNCTION, TABLE, MEMORY, GLOBAL = range(4)
FUNCTION_TYPE, VECTOR = b"\x60", b"\x7b"
VALUE_TYPES = b"\x7f\x7e\x7d\x7c\x7b\x70\x6f"
HAS_MAXIMUM = 1
MAX_FILE = 64 << 20
"""Bytes that a guest's file may have; compiling takes time and memory in proportion."""
MAX_TABLES = 4
MAX_TABLE_ELEMENTS = 1 << 17
"""Elements that each table may have: a compiler makes one for each function whose address is taken."""
MAX_SECTIONS = 1000
MAX_IMPORTS = MAX_EXPORTS = 10_000
"""Each of them costs time in the host."""
MAX_ITEMS = 1_000_000
"""Types and functions that a runtime takes."""

BROKEN = "not a WebAssembly module that can run here"


class Sizes(Record):
    """The limits that a memory or table declares, in pages or elements; ``prefix`` is what stands before them."""

    prefix: bytes
    minimum: int
    maximum: int | None


def read_module(path: Path) -> bytes:
    """The bytes of a guest's file.

    Raises :class:`GuestError` when it is absent, cannot be read, is larger than 64 MiB or is not a WebAssembly module.
    """
    try:
        with path.open("rb") as file:
            wasm = file.read(MAX_FILE + 1)
    except OSError as error:
        raise GuestError(f"cannot read the guest ({error.strerror}); give a .wasm file").of(path) from None
    try:
        if len(wasm) > MAX_FILE:
            raise GuestError(f"the file is larger than {MAX_FILE >> 20} MiB; a guest is a small .wasm file")
        check_magic(wasm)
    except GuestError as error:
        raise error.of(path) from None
    return wasm


def check_magic(wasm: bytes) -> None:
    """Raises :class:`GuestError` unless the bytes begin as a WebAssembly 1.0 module does."""
    if not wasm:
        raise GuestError("the file is empty; a guest is a WebAssembly module (.wasm)")
    if wasm.startswith(COMPONENT):
        raise GuestError("a WebAssembly component; a guest is a core module (for Rust: wasm32-unknown-unknown)")
    if not wasm.startswith(MAGIC):
        raise GuestError("not a WebAssembly module; a guest is a .wasm file, such as 'aicli build-guest' writes")


def check_limits(wasm: bytes, limits: Limits) -> None:
    """Raises :class:`GuestMemoryError` when the module starts with more than it may have.

    Raises :class:`GuestError` when its sections cannot be read, or its memory or interface cannot be had here.
    """
    check_magic(wasm)
    check_interface(wasm)
    for section, content in sections(wasm):
        for sizes in declared(section, content):
            if section == MEMORY_SECTION and sizes.minimum * PAGE > limits.memory:
                raise GuestMemoryError(
                    f"the guest starts with {sizes.minimum * PAGE} bytes of memory and may have {limits.memory}",
                    hint=Hint("limits.memory"),
                )
            if section == TABLE_SECTION and sizes.minimum > MAX_TABLE_ELEMENTS:
                raise GuestMemoryError(
                    f"the guest starts with a table of {sizes.minimum} elements and may have {MAX_TABLE_ELEMENTS}"
                )


def check_interface(wasm: bytes) -> None:
    """Raises :class:`GuestError` when it imports or exports too much, or a function with vectors.

    Describing a type with a vector ends the whole process in wasmtime's own interface. Inside a module they do no harm.
    """
    contents: dict[int, bytes] = {}
    for section, content in sections(wasm):
        contents.setdefault(section, content)
    for section, most, what in ((IMPORT_SECTION, MAX_IMPORTS, "imports"), (EXPORT_SECTION, MAX_EXPORTS, "exports")):
        count = read_u32(contents[section], 0)[0] if section in contents else 0
        if count > most:
            raise GuestError(f"it has {count} {what}; at most {most} can be had")
    if VECTOR not in contents.get(TYPE_SECTION, b""):
        return
    vectors = vector_types(contents[TYPE_SECTION])
    functions = list(imported_functions(contents.get(IMPORT_SECTION, b"\0")))
    outside = set(range(len(functions)))
    functions += numbers(contents.get(FUNCTION_SECTION, b"\0"))
    outside.update(exported_functions(contents.get(EXPORT_SECTION, b"\0")))
    if any(index < len(functions) and functions[index] in vectors for index in outside):
        raise GuestError("it imports or exports a function with a vector (v128), which cannot be passed here")


def vector_types(content: bytes) -> set[int]:
    """The numbers of the function types that have vectors (5.5.4)."""
    found = set()
    count, at = read_count(content, 0)
    for number in range(count):
        if content[at : at + 1] != FUNCTION_TYPE:
            raise GuestError(f"{BROKEN}: it has types of other things than functions")
        at += 1
        for _ in range(2):
            size, begin = read_u32(content, at)
            at = begin + size
            values = content[begin:at]
            if at > len(content) or values.translate(None, VALUE_TYPES):
                raise GuestError(f"{BROKEN}: it has types of functions that are not known here")
            if VECTOR in values:
                found.add(number)
    return found


def imported_functions(content: bytes) -> Iterator[int]:
    """The number of the type of each imported function (5.5.5)."""
    count, at = read_count(content, 0)
    for _ in range(count):
        for _ in range(2):
            size, at = read_u32(content, at)
            at += size
        kind, at = read_u32(content, at)
        if kind in (TABLE, MEMORY):
            flags, at = read_u32(content, at + (kind == TABLE))
            for _ in range(1 + (flags & HAS_MAXIMUM)):
                _, at = read_u32(content, at)
        elif kind == GLOBAL:
            at += 2
        elif kind == FUNCTION:
            number, at = read_u32(content, at)
            yield number
        else:
            raise GuestError(f"{BROKEN}: it imports something of an unknown kind")


def numbers(content: bytes) -> Iterator[int]:
    """A vector of numbers: the functions' types (5.5.6)."""
    count, at = read_count(content, 0)
    for _ in range(count):
        number, at = read_u32(content, at)
        yield number


def exported_functions(content: bytes) -> Iterator[int]:
    """The number of each exported function (5.5.10)."""
    count, at = read_count(content, 0)
    for _ in range(count):
        size, at = read_u32(content, at)
        kind, at = read_u32(content, at + size)
        number, at = read_u32(content, at)
        if kind == FUNCTION:
            yield number


def read_count(content: bytes, at: int) -> tuple[int, int]:
    count, at = read_u32(content, at)
    if count > MAX_ITEMS:
        raise GuestError(f"{BROKEN}: it has {count} types or functions")
    return count, at


def bound_sizes(wasm: bytes, limits: Limits) -> bytes:
    """The same module with every memory and table of its own limited by what it declares itself.

    A runtime that has no limiter of its own then refuses to let them grow further. A smaller maximum is kept.
    """
    largest = {MEMORY_SECTION: limits.memory // PAGE, TABLE_SECTION: MAX_TABLE_ELEMENTS}
    out = bytearray(wasm[:8])
    for section, content in sections(wasm):
        if section in largest:
            content = write_bounded(list(declared(section, content)), largest[section])
        out += bytes([section]) + write_u32(len(content)) + content
    return bytes(out)


def sections(wasm: bytes) -> Iterator[tuple[int, bytes]]:
    """Every section's number and content."""
    at, count = 8, 0
    while at < len(wasm):
        count += 1
        if count > MAX_SECTIONS:
            raise GuestError(f"it has more than {MAX_SECTIONS} sections")
        section = wasm[at]
        size, body = read_u32(wasm, at + 1)
        at = body + size
        if at > len(wasm):
            raise GuestError(f"{BROKEN}: the file is truncated")
        yield section, wasm[body:at]


def declared(section: int, content: bytes) -> Iterator[Sizes]:
    """The limits in a memory or table section; nothing for any other section (5.5.6 and 5.5.7)."""
    if section not in (MEMORY_SECTION, TABLE_SECTION):
        return
    count, at = read_u32(content, 0)
    if section == TABLE_SECTION and count > MAX_TABLES:
        raise GuestMemoryError(f"the guest has {count} tables; at most {MAX_TABLES} can be had")
    if section == MEMORY_SECTION and count > 1:
        raise GuestError("the guest has several memories, which cannot run here; use one")
    for _ in range(count):
        prefix = content[at : at + 1] if section == TABLE_SECTION else b""
        at += len(prefix)
        if prefix not in (b"", b"\x70", b"\x6f"):
            raise GuestError("the guest has a table of a kind that cannot run here; use a plain table of functions")
        if at >= len(content) or content[at] > 1:
            raise GuestError("the guest's memory is shared or 64-bit, which cannot run here; use a plain wasm32 memory")
        has_maximum = content[at]
        minimum, at = read_u32(content, at + 1)
        maximum = None
        if has_maximum:
            maximum, at = read_u32(content, at)
        yield Sizes(prefix, minimum, maximum)


def write_bounded(items: list[Sizes], largest: int) -> bytes:
    out = bytearray(write_u32(len(items)))
    for item in items:
        maximum = largest if item.maximum is None else min(item.maximum, largest)
        out += item.prefix + b"\x01" + write_u32(item.minimum) + write_u32(maximum)
    return bytes(out)


def read_u32(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number of at most 32 bits (section 5.2.2): its value and the offset behind it."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80 and value < 1 << 32:
            return value, at
    raise GuestError(f"{BROKEN}: a number in it is malformed")


def write_u32(value: int) -> bytes:
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)
