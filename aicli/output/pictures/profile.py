"""Colour profiles that can hold nothing but colours: for pictures that must not show what their source shows.

A profile may carry texts, pictures and private data in its tags. What makes the colours of a usual RGB or grey photo
is small and plain: primaries, white point, a curve for each channel (ICC.1:2022, sections 7 to 10).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise

__all__ = ["plain_profile"]

HEADER, ENTRY = 128, 12
POINTS = (b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt", b"bkpt")
CURVES = (b"rTRC", b"gTRC", b"bTRC", b"kTRC")
NEEDED = {b"RGB ": {*POINTS[:3], *CURVES[:3]}, b"GRAY": {b"kTRC"}}
PARAMETERS = (1, 3, 4, 5, 7)
"""How many numbers a parametric curve of each function type has."""
MOST_POINTS = 4096
TEXT = "colours of the photo"
KEPT_OF_HEADER = ((8, 24), (36, 40), (64, 80))
"""Version, class, colour spaces; the signature; rendering intent and illuminant."""


def plain_profile(profile: bytes) -> bytes | None:
    """The profile made anew of its primaries, white point and curves; ``None`` where it is not made of these."""
    try:
        tags = {name: data for name, data in tags_of(profile) if is_plain(name, data)}
    except (struct.error, ValueError):
        return None
    if not NEEDED.get(profile[16:20], {b""}) <= set(tags):
        return None
    header = bytearray(HEADER)
    for start, end in KEPT_OF_HEADER:
        header[start:end] = profile[start:end]
    return written(header, texts(profile[8]) | tags)


def texts(version: int) -> dict[bytes, bytes]:
    """The name and the copyright, which every profile has."""
    if version >= 4:
        wide = TEXT.encode("utf-16-be")
        both = struct.pack(">4s4xIIHHII", b"mluc", 1, 12, 0x656E, 0x5553, len(wide), 28) + wide  # en-US
        return {b"desc": both, b"cprt": both}
    plain = TEXT.encode() + b"\0"
    name = struct.pack(">4s4xI", b"desc", len(plain)) + plain + bytes(78)
    return {b"desc": name, b"cprt": struct.pack(">4s4x", b"text") + plain}


def tags_of(profile: bytes) -> Iterator[tuple[bytes, bytes]]:
    (count,) = struct.unpack_from(">I", profile, HEADER)
    for number in range(min(count, 100)):
        name, start, size = struct.unpack_from(">4sII", profile, HEADER + 4 + ENTRY * number)
        if start + size > len(profile):
            raise ValueError("a tag lies beyond the profile")
        yield name, profile[start : start + size]


def is_plain(name: bytes, data: bytes) -> bool:
    """Whether a tag holds colours, and nothing else fits into it."""
    kind = data[:4]
    if data[4:8] != bytes(4):
        return False
    if name in POINTS:
        return kind == b"XYZ " and len(data) == 20
    if name == b"chad":
        return kind == b"sf32" and len(data) == 44
    return name in CURVES and (is_curve(data) if kind == b"curv" else kind == b"para" and is_parametric(data))


def is_curve(data: bytes) -> bool:
    """Whether it is a table whose values rise, which those of a picture do not."""
    (count,) = struct.unpack_from(">I", data, 8)
    if count > MOST_POINTS or not 12 + 2 * count <= len(data) <= 12 + 2 * count + 3 or any(data[12 + 2 * count :]):
        return False
    return all(one <= other for one, other in pairwise(struct.unpack_from(f">{count}H", data, 12)))


def is_parametric(data: bytes) -> bool:
    function, reserved = struct.unpack_from(">HH", data, 8)
    return reserved == 0 and function < len(PARAMETERS) and len(data) == 12 + 4 * PARAMETERS[function]


def written(header: bytearray, tags: dict[bytes, bytes]) -> bytes:
    """A profile of these tags; equal ones share their data, as profiles have it."""
    table, body = bytearray(struct.pack(">I", len(tags))), bytearray()
    start, places = HEADER + 4 + ENTRY * len(tags), dict[bytes, int]()
    for name, data in tags.items():
        if data not in places:
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        table += struct.pack(">4sII", name, places[data], len(data))
    header[:4] = struct.pack(">I", start + len(body))
    return bytes(header + table + body)
