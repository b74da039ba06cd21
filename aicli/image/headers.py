"""What the header of a format hides: the sizes that would really be decoded, and how many pictures there are."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import IO, Any

from aicli._text import shown
from aicli.errors import ImageError
from aicli.image.reading import MAX_STREAM_BYTES

__all__ = ["check_scans", "count_gif", "further_pictures", "hidden_sizes"]

_PNG = b"\x89PNG\r\n\x1a\n"
_BMP_CORE = 12
_MAX_GIF_FRAMES = 100_000
_MAX_SCANS = 100
"""Scans that a JPEG may have; progressive ones have about ten. Each goes through the whole picture, for few bytes."""
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", 0xD9
_PROGRESSIVE = (0xC2, 0xCA)
_MARKER = re.compile(rb"\xff[^\0\xff\xd0-\xd7]")
"""What ends a scan's data: neither a stuffed byte, nor a fill byte, nor a restart (ITU-T T.81, B.1.1)."""
_GAIN_MAPS = (b"hdrgm", b"HDRGainMap", b"urn:iso:std:iso:ts:21496")
_PREVIEWS = ("Large Thumbnail (VGA Equivalent)", "Large Thumbnail (Full HD Equivalent)")


def hidden_sizes(kind: str, stream: IO[bytes], image: Any = None) -> Iterator[tuple[int, int]]:
    """Width and height of everything that opening or loading an image makes a buffer for, as far as its kind tells.

    ICO keeps a whole PNG or bitmap behind a size of one byte, and Pillow decodes it while it opens the file: asked
    without ``image``. A GIF grows with each picture that reaches beyond it. The tiles of a TIFF may be larger than its
    picture; the streams of JPEG 2000 and AVIF have a size of their own beside that of the boxes around them.
    """
    if kind == "ICO" and image is None:
        yield from _icons(stream)
    elif kind == "TIFF" and image is not None:
        width, height = image.tag_v2.get(322), image.tag_v2.get(323)
        if isinstance(width, int) and isinstance(height, int):
            yield width, height
    elif kind == "GIF" and image is None:
        yield from _gif_frames(stream)
    elif kind in ("JPEG 2000", "AVIF") and image is None:
        data = stream.read(MAX_STREAM_BYTES)
        stream.seek(0)
        if kind == "AVIF":
            from aicli.image.av1 import stream_sizes

            yield from stream_sizes(data)
        else:
            yield from _codestreams(data)


def check_scans(stream: IO[bytes], label: str) -> None:
    """Raises :class:`ImageError` for a JPEG of so many scans that decoding it would take minutes."""
    if _has_one_scan(stream):
        return
    count, last = 0, b""
    while piece := stream.read(1 << 20):
        count += (last + piece).count(_START_OF_SCAN)
        last = piece[-1:]
    stream.seek(0)
    if count <= _MAX_SCANS:  # also in thumbnails, and whatever hangs on behind the picture
        return
    data = stream.read(MAX_STREAM_BYTES)
    stream.seek(0)
    if _count_scans(data) > _MAX_SCANS:
        raise ImageError(f"a JPEG of more than {_MAX_SCANS} scans, which no camera makes; export it again").of(
            shown(label)
        )


def _has_one_scan(stream: IO[bytes]) -> bool:
    """Whether the first scan has all components of a sequential JPEG, as most have: no decoder looks for another."""
    at, components = 2, 0
    while True:
        stream.seek(at)
        head = stream.read(10)
        if len(head) < 10 or head[0] != 0xFF or head[1] < 0xC0 or head[1] == 0xFF or head[1] in _PROGRESSIVE:
            break
        if head[1] in (0xC0, 0xC1):
            components = head[9]
        if head[1] == _START_OF_SCAN[1]:
            stream.seek(0)
            return head[4] == components > 0
        at += 2 + int.from_bytes(head[2:4], "big")
    stream.seek(0)
    return False


def _count_scans(data: bytes) -> int:
    """The scans of the first picture."""
    count, at = 0, 2
    while found := _MARKER.search(data, at):
        marker, at = data[found.end() - 1], found.end()
        if marker == _END_OF_IMAGE:
            break
        count += marker == _START_OF_SCAN[1]
        if marker != 0x01:  # the one that is alone (B.1.1.3)
            at += int.from_bytes(data[at : at + 2], "big")
    return count


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


def count_gif(stream: IO[bytes]) -> int:
    """How many pictures a GIF has, at least 1."""
    return max(1, len(_gif_frames(stream)))


def _gif_frames(stream: IO[bytes]) -> list[tuple[int, int]]:
    """Right and lower end of each picture of a GIF, as far as its blocks are whole (GIF89a, appendix A)."""
    stream.seek(0)
    data = stream.read(MAX_STREAM_BYTES)
    stream.seek(0)
    at = 13 + _colours(data[10:11])
    found: list[tuple[int, int]] = []
    while at + 10 < len(data) and len(found) < _MAX_GIF_FRAMES:
        if data[at] == 0x2C:
            left, top, width, height = struct.unpack_from("<4H", data, at + 1)
            found.append((left + width, top + height))
            at += 11 + _colours(data[at + 9 : at + 10])
        elif data[at] == 0x21:
            at += 2
        else:
            break
        while at < len(data) and data[at]:
            at += data[at] + 1
        at += 1
    return found


def _colours(flags: bytes) -> int:
    """The bytes of the colour table that such flags announce."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def further_pictures(image: Any, stream: IO[bytes]) -> list[tuple[int, int]]:
    """Offset and length of the pictures behind the first one of an MPO (CIPA DC-007).

    No previews, and no gain maps, which many telephones put into their photos: they are not pictures of their own.
    """
    if "mp" not in image.info:
        return []
    try:
        entries = image._getmp().get(0xB002, [])
        found = []
        for entry in entries[1:]:
            offset, length = entry["DataOffset"] + image.info["mpoffset"], entry["Size"]
            stream.seek(offset)
            head = stream.read(min(length, 1 << 14))
            preview = entry["Attribute"].get("MPType") in _PREVIEWS
            if head.startswith(b"\xff\xd8\xff") and not preview and not any(mark in head for mark in _GAIN_MAPS):
                found.append((offset, length))
        return found
    except Exception:  # a damaged index must not cost us the first picture
        return []
    finally:
        stream.seek(0)
