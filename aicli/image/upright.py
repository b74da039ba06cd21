"""Exif orientation: what it says, the turn that it asks for, and the Exif bytes that belong to the upright picture."""

from __future__ import annotations

import struct

from PIL import Image

__all__ = ["orientation", "transparent_picture", "turn_upright", "upright_exif"]

_ORIENTATION = 0x0112
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(image: Image.Image) -> int:
    """The Exif orientation, 1 to 8; 1 where there is none or the metadata cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata must not cost us the picture
        return 1
    return value if isinstance(value, int) and value in _TURN else 1


def turn_upright(image: Image.Image, value: int) -> Image.Image:
    """``image`` turned or mirrored as Exif orientation ``value`` says (Exif 2.32, table 6)."""
    return image.transpose(_TURN[value]) if value in _TURN else image


def transparent_picture(upright: Image.Image) -> Image.Image:
    """An upright picture as LA or RGBA, without metadata: their orientation would have others turn it once more."""
    picture = upright.convert("LA" if upright.mode in ("L", "LA", "La") else "RGBA")
    picture.info = {}
    return picture


def upright_exif(image: Image.Image) -> bytes | None:
    r"""The image's Exif block, from ``Exif\0\0`` on, with its orientation set to 1; everything else as it was.

    The bytes are patched in place, because writing the block anew would lose the thumbnail and the maker notes.
    """
    block = image.info.get("exif")
    if not isinstance(block, bytes):
        return None
    tiff = bytearray(block.removeprefix(b"Exif\0\0"))
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(tiff[:4]))
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, _, _ = struct.unpack_from(order + "HHI", tiff, entry)
            if tag == _ORIENTATION:
                struct.pack_into(order + "HIHH", tiff, entry + 2, 3, 1, 1, 0)
    except struct.error:
        return None
    return b"Exif\0\0" + bytes(tiff)
