"""Messages between a process and its workers: one frame, and two ways to write what is in it.

u8 kind | u8 0 | u16 number of byte strings | u64 length of the content | u32 length of each | content | byte strings
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Generator, Sequence
from typing import IO, Any

from aicli.errors import AicliError

__all__ = ["ANSWER", "FAILURE", "JOB", "READY", "REFUSED", "Codec", "Frame", "Plain", "WireError"]
__all__ += ["pack", "parse", "receive", "send"]

READY, REFUSED, JOB, ANSWER, FAILURE = range(1, 6)
"""A worker is ready (notes) or refuses (an error); it gets a job, answers it or fails (an error)."""

Frame = tuple[dict[str, Any], Sequence[bytes]]
"""A job or an answer as :class:`Plain` writes it: a JSON object, and byte strings that are not copied."""

HEAD = struct.Struct("<BxHQ")
COMPACT = json.JSONEncoder(separators=(",", ":"))
MAX_BLOBS = 64
MAX_BLOB = 1 << 30


class WireError(Exception):
    """The other side broke the rules of the frame."""


class Codec:
    """Pickles: any value, between processes that run nothing but this program."""

    largest = 1 << 40

    @staticmethod
    def encode(kind: int, value: Any) -> tuple[bytes, Sequence[bytes]]:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL), ()

    @staticmethod
    def decode(kind: int, content: bytes, blobs: list[bytes]) -> Any:
        return pickle.loads(content)


class Plain(Codec):
    """JSON: what comes from a worker that ran foreign code must not be able to do anything but be read."""

    largest = 64 << 20

    @staticmethod
    def encode(kind: int, value: Any) -> tuple[bytes, Sequence[bytes]]:
        header, blobs = value if kind in (JOB, ANSWER) else (value, ())
        return COMPACT.encode(str(header) if isinstance(header, AicliError) else header).encode(), blobs

    @staticmethod
    def decode(kind: int, content: bytes, blobs: list[bytes]) -> Any:
        try:
            header = json.loads(content)
        except (ValueError, RecursionError):
            raise WireError("a header is no JSON") from None
        if kind in (REFUSED, FAILURE):
            return AicliError(str(header))
        if kind not in (JOB, ANSWER):
            return header
        if not isinstance(header, dict):
            raise WireError("a header is not a JSON object")
        return header, blobs


def pack(kind: int, value: Any, codec: type[Codec]) -> list[bytes]:
    """The pieces of a frame, to be written one after the other without being joined."""
    content, blobs = codec.encode(kind, value)
    lengths = struct.pack(f"<{len(blobs)}I", *map(len, blobs))
    return [HEAD.pack(kind, len(blobs), len(content)) + lengths, content, *blobs]


def send(stream: IO[bytes], kind: int, value: Any, codec: type[Codec]) -> None:
    for piece in pack(kind, value, codec):
        stream.write(piece)
    stream.flush()


def parse(codec: type[Codec]) -> Generator[int, bytes, tuple[int, Any]]:
    """Asks for so many bytes, again and again, and returns kind and value of a frame. Raises :class:`WireError`."""
    kind, count, size = HEAD.unpack((yield HEAD.size))
    if size > codec.largest or count > MAX_BLOBS:
        raise WireError("a frame is too long")
    lengths = struct.unpack(f"<{count}I", (yield 4 * count))
    if any(length > MAX_BLOB for length in lengths):
        raise WireError("a byte string is too long")
    content = yield size
    blobs: list[bytes] = []
    for length in lengths:
        blobs += [(yield length)]
    return kind, codec.decode(kind, content, blobs)


def receive(stream: IO[bytes], codec: type[Codec]) -> tuple[int, Any]:
    """Kind and value of the next message. Raises :class:`EOFError` when the other end has gone, :class:`WireError`."""
    parser = parse(codec)
    size = next(parser)
    while True:
        data = stream.read(size)
        if len(data) < size:
            raise EOFError
        try:
            size = parser.send(data)
        except StopIteration as message:
            kind, value = message.value
            return kind, value
