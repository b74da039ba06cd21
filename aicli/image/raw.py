"""Raw photos: the largest picture in them that is no thumbnail, since the sensor's own values are not developed here.

Cameras put a JPEG of the photo into the file, in full size or for their screen. Most raw formats are laid out like
TIFF, and their directories say what is a JPEG and what the sensor's picture; in the others the JPEGs are looked for.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

from aicli._text import shown
from aicli.errors import ImageError
from aicli.image.reading import MAX_STREAM_BYTES
from aicli.image.tiff import Directory, read_directories

__all__ = ["Embedded", "find_embedded"]

_SMALLEST_SIDE = 640
"""The longer side of a picture that is worth an answer for a photo of several megapixels."""

WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, OFFSETS, ORIENTATION, COUNTS = 256, 257, 259, 262, 273, 274, 279
JPEG_OFFSET, JPEG_LENGTH, DNG_VERSION = 513, 514, 50706
_SENSOR = (32803, 34892)
_SENSOR_COMPRESSIONS = (32767, 32769, 32770, 34713, 34892, 65535, 65000, 52546)
_START_OF_FRAME = frozenset((0xC0, 0xC1, 0xC2))
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD8)))


class Embedded(NamedTuple):
    """A picture inside a raw photo: what decodes it, its bytes, what it is in words, and the photo's orientation."""

    kind: str
    data: bytes
    part: str
    orientation: int


class _Found(NamedTuple):
    width: int
    height: int
    offset: int
    length: int
    kind: str


def find_embedded(kind: str, stream: IO[bytes], label: str) -> Embedded | None:
    """The largest picture in a raw photo; ``None`` where the file is a TIFF and no raw photo.

    Raises ImageError for a raw photo in which there is no more than a thumbnail.
    """
    directories = read_directories(stream) if kind in ("TIFF", "ORF", "RW2") else []
    if kind == "TIFF" and not _is_raw(stream, directories):
        return None
    data = stream.read(MAX_STREAM_BYTES)
    stream.seek(0)
    found = list(_in_directories(data, directories) if kind == "TIFF" else _anywhere(data))
    full = _full_size(directories)
    best = max(found, key=lambda one: one.width * one.height, default=None)
    side = 0 if best is None else max(best.width, best.height)
    if best is None or (side < _SMALLEST_SIDE and (not full or side < max(full))):
        what = f"no more than a thumbnail of {best.width} x {best.height}" if best else "no picture that can be decoded"
        name = "" if kind == "TIFF" else f" ({kind})"
        raise ImageError(f"a raw photo{name} with {what} in it; convert it to JPEG with a raw converter first").of(
            shown(label)
        )
    of = f" of {full[0]} x {full[1]}" if full and full != best[:2] else ""
    if best.kind == "JPEG":
        part = f"embedded JPEG, {best.width} x {best.height}{of}"
        return Embedded("JPEG", data[best.offset : best.offset + best.length], part, _orientation(data, directories))
    order = "<" if data[:2] == b"II" else ">"
    moved = data[:4] + struct.pack(order + "I", best.offset) + data[8:]
    part = f"embedded picture, {best.width} x {best.height}{of}"
    return Embedded("TIFF", moved, part, _orientation(data, directories))


def _is_raw(stream: IO[bytes], directories: list[Directory]) -> bool:
    stream.seek(8)
    canon = stream.read(2) == b"CR"
    stream.seek(0)
    if canon or any(DNG_VERSION in directory for directory in directories):
        return True
    for directory in directories:
        if directory.first(PHOTOMETRIC) in _SENSOR or directory.first(COMPRESSION) in _SENSOR_COMPRESSIONS:
            return True
    # A TIFF that shows a smaller copy first and has its picture in a subdirectory is read the same way.
    return (
        bool(directories)
        and directories[0].is_reduced
        and not any(directory.page is not None and not directory.is_reduced for directory in directories)
    )


def _full_size(directories: list[Directory]) -> tuple[int, int] | tuple[()]:
    """Width and height of the sensor's picture, as far as the directories say."""
    sizes = [(directory.first(WIDTH), directory.first(HEIGHT)) for directory in directories]
    largest = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    return largest if all(largest) else ()


def _in_directories(data: bytes, directories: list[Directory]) -> Iterator[_Found]:
    for directory in directories:
        offset, length = directory.first(JPEG_OFFSET), directory.first(JPEG_LENGTH)
        strips = directory.get(OFFSETS, ())
        sensor = directory.first(PHOTOMETRIC) in _SENSOR or directory.first(COMPRESSION) in _SENSOR_COMPRESSIONS
        if not offset and len(strips) == 1 and directory.first(COMPRESSION) in (6, 7) and not sensor:
            offset, length = strips[0], directory.first(COUNTS)
        size = _jpeg_size(data, offset) if offset and length else None
        if size is not None:
            yield _Found(*size, offset, length, "JPEG")
            continue
        plain = not sensor and directory.first(PHOTOMETRIC, -1) in (0, 1, 2, 6) and (strips or 324 in directory)
        if plain and (directory.first(COMPRESSION) not in (6, 7) or not _is_lossless(data, directory)):
            yield _Found(directory.first(WIDTH), directory.first(HEIGHT), directory.offset, 0, "TIFF")


def _is_lossless(data: bytes, directory: Directory) -> bool:
    """Whether its JPEG data is of the lossless kind, which cameras use for the sensor's values."""
    offset = (directory.get(OFFSETS) or directory.get(324) or (0,))[0]
    return data[offset : offset + 2] == b"\xff\xd8" and _jpeg_size(data, offset) is None


def _anywhere(data: bytes) -> Iterator[_Found]:
    """Every JPEG in a file whose layout is not known; one is as long as the file at most."""
    at = data.find(b"\xff\xd8\xff")
    while at >= 0:
        size = _jpeg_size(data, at)
        if size is not None:
            yield _Found(*size, at, len(data) - at, "JPEG")
        at = data.find(b"\xff\xd8\xff", at + 3)


def _jpeg_size(data: bytes, at: int) -> tuple[int, int] | None:
    """Width and height of the baseline or progressive JPEG that begins there, if one does."""
    if data[at : at + 2] != b"\xff\xd8":
        return None
    at += 2
    size = None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            return size
        if length < 2 or marker == 0xD9 or (0xC3 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return None
        if marker in _START_OF_FRAME and at + 10 <= len(data):
            if data[at + 4] != 8 or data[at + 9] not in (1, 3):
                return None
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = (width, height) if width and height else None
        at += 2 + length
    return None


def _orientation(data: bytes, directories: list[Directory]) -> int:
    """The photo's Exif orientation, which its embedded JPEG need not repeat."""
    if not directories:
        box = data.find(b"CMT1", 0, 1 << 20)  # Canon's box with the first directory of Exif
        directories = read_directories(io.BytesIO(data[box + 4 : box + 4 + (1 << 16)])) if box > 0 else []
    return directories[0].first(ORIENTATION, 1) if directories else 1
