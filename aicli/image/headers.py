"""Sizes that a format hides from its header: what would really be decoded, read without decoding it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, Any

from aicli.image.av1 import stream_sizes
from aicli.image.reading import MAX_STREAM_BYTES

__all__ = ["hidden_sizes"]

_PNG = b"\x89PNG\r\n\x1a\n"
_BMP_CORE = 12


def hidden_sizes(kind: str, stream: IO[bytes], image: Any = None) -> Iterator[tuple[int, int]]:
    """Width and height of everything that opening or loading an image makes a buffer for, as far as its kind tells.

    ICO keeps a whole PNG or bitmap behind a size of one byte, and Pillow decodes it while it opens the file: asked
    without ``image``. The tiles of a TIFF may be larger than its picture; the streams of JPEG 2000 and AVIF have a size
    of their own beside that of the boxes around them.
    """
    if kind == "ICO" and image is None:
        yield from _icons(stream)
    elif kind == "TIFF" and image is not None:
        width, height = image.tag_v2.get(322), image.tag_v2.get(323)
        if isinstance(width, int) and isinstance(height, int):
            yield width, height
    elif kind in ("JPEG 2000", "AVIF") and image is None:
        data = stream.read(MAX_STREAM_BYTES)
        stream.seek(0)
        yield from stream_sizes(data) if kind == "AVIF" else _codestreams(data)


def _icons(stream: IO[bytes]) -> Iterator[tuple[int, int]]:
    """The pictures of an icon, each a PNG or a bitmap whose height counts its mask too."""
    stream.seek(4)
    count = int.from_bytes(stream.read(2), "little")
    table = stream.read(16 * count)
    for at in range(0, len(table) - 15, 16):
        (offset,) = struct.unpack_from("<I", table, at + 12)
        stream.seek(offset)
        head = stream.read(24)
        if head.startswith(_PNG) and len(head) == 24:
            yield struct.unpack_from(">II", head, 16)
        elif len(head) == 24 and int.from_bytes(head[:4], "little") > _BMP_CORE:
            width, height = struct.unpack_from("<ii", head, 4)
            yield abs(width), abs(height) // 2
        elif len(head) == 24:
            width, height = struct.unpack_from("<HH", head, 4)
            yield width, height // 2
    stream.seek(0)


def _codestreams(data: bytes) -> Iterator[tuple[int, int]]:
    """Picture and tile of the image and tile size marker (ISO/IEC 15444-1, A.5.1)."""
    at = data.find(b"\xff\x4f\xff\x51")
    if at >= 0 and len(data) >= at + 40:
        right, bottom, left, top, tile_width, tile_height = struct.unpack_from(">6I", data, at + 8)
        yield right - left, bottom - top
        yield min(tile_width, right), min(tile_height, bottom)
