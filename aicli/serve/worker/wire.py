"""Frames between the front process and its workers: a JSON header and any number of byte strings.

No pickle: what comes from a worker that ran foreign code must not be able to do anything but be read.

    u32 length of the header | u32 number of byte strings | u32 length of each | header | byte strings
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

__all__ = ["Frame", "WireError", "pack", "receive", "receive_async"]

Frame = tuple[dict[str, Any], list[bytes]]
HEAD = struct.Struct("<II")
MAX_HEADER = 64 << 20
MAX_BLOBS = 64
MAX_BLOB = 1 << 30


class WireError(Exception):
    """The other side broke the rules of the frame."""


def pack(header: dict[str, Any], blobs: Sequence[bytes] = ()) -> list[bytes]:
    """The pieces of a frame, to be written one after the other without being joined."""
    text = json.dumps(header, separators=(",", ":")).encode()
    lengths = struct.pack(f"<{len(blobs)}I", *map(len, blobs))
    return [HEAD.pack(len(text), len(blobs)) + lengths + text, *blobs]


def receive(stream: BinaryIO) -> Frame | None:
    """The next frame of a blocking stream; ``None`` at its end."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    size, count = check(head)
    lengths = struct.unpack(f"<{count}I", stream.read(4 * count))
    header = stream.read(size)
    blobs = [stream.read(length) for length in lengths]
    if len(header) < size or any(len(blob) < length for blob, length in zip(blobs, lengths, strict=True)):
        return None
    return json.loads(header), blobs


async def receive_async(stream: asyncio.StreamReader) -> Frame:
    """The next frame. Raises :class:`asyncio.IncompleteReadError` at the end of the stream, :class:`WireError`."""
    size, count = check(await stream.readexactly(HEAD.size))
    lengths = struct.unpack(f"<{count}I", await stream.readexactly(4 * count))
    if any(length > MAX_BLOB for length in lengths):
        raise WireError("a byte string is too long")
    text = await stream.readexactly(size)
    blobs = [await stream.readexactly(length) for length in lengths]
    try:
        header = json.loads(text)
    except ValueError:
        raise WireError("a header is no JSON") from None
    if not isinstance(header, dict):
        raise WireError("a header is no JSON object")
    return header, blobs


def check(head: bytes) -> tuple[int, int]:
    size, count = HEAD.unpack(head)
    if size > MAX_HEADER or count > MAX_BLOBS:
        raise WireError("a frame is too long")
    return size, count
