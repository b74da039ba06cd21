"""Reading and bounding WebAssembly modules as bytes, before any runtime compiles them.

Source: WebAssembly core specification, section 5 (binary format).
"""

from __future__ import annotations

from aicli.errors import GuestError

__all__ = ["bound_memory", "check_magic"]

MAGIC = b"\0asm\x01\0\0\0"
MEMORY_SECTION = 5


def check_magic(wasm: bytes) -> None:
    """Raises :class:`GuestError` unless the bytes begin as a WebAssembly 1.0 module does."""
    if not wasm:
        raise GuestError("the file is empty; a guest is a WebAssembly module (.wasm)")
    if not wasm.startswith(MAGIC):
        raise GuestError("not a WebAssembly module; a guest is a .wasm file, such as 'aicli build-guest' writes")


def read_u32(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number of at most 32 bits (section 5.2.2): its value and the offset behind it."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise GuestError("not a WebAssembly module that can run here: a number in it is malformed")


def write_u32(value: int) -> bytes:
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def bound_memory(wasm: bytes, pages: int) -> bytes:
    """The same module with every memory of its own limited to ``pages`` pages of 64 KiB.

    A runtime that has no limiter of its own then refuses to grow the memory further. A memory that declares a smaller
    maximum keeps it.
    """
    out = bytearray(wasm[:8])
    at = 8
    while at < len(wasm):
        section = wasm[at]
        size, body = read_u32(wasm, at + 1)
        end = body + size
        if end > len(wasm):
            raise GuestError("not a WebAssembly module that can run here: the file is truncated")
        content = wasm[body:end]
        if section == MEMORY_SECTION:
            content = bound_memory_section(content, pages)
        out += bytes([section]) + write_u32(len(content)) + content
        at = end
    return bytes(out)


def bound_memory_section(content: bytes, pages: int) -> bytes:
    count, at = read_u32(content, 0)
    out = bytearray(write_u32(count))
    for _ in range(count):
        if at >= len(content) or content[at] > 1:
            raise GuestError("the guest's memory is shared or 64-bit, which cannot run here; use a plain wasm32 memory")
        has_maximum = content[at]
        minimum, at = read_u32(content, at + 1)
        maximum = pages
        if has_maximum:
            maximum, at = read_u32(content, at)
        out += b"\x01" + write_u32(minimum) + write_u32(max(minimum, min(maximum, pages)))
    return bytes(out)
