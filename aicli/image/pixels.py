"""From any Pillow mode to upright RGB, 8 bits a sample, and the Exif bytes that belong to the upright picture."""

from __future__ import annotations

import struct
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["orientation", "rgb_pixels", "rgb_profile", "turn_upright", "upright_exif"]

_ORIENTATION = 0x0112
_STRIP_BYTES = 500_000
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


def rgb_pixels(image: Image.Image, kind: str | None) -> NDArray[np.uint8]:
    """The pixels as RGB, uint8, height x width x 3; what is transparent becomes white.

    Samples of 16 bits are scaled to 8, not clipped. Floats and 32-bit integers have no fixed range; see
    :func:`_scaled`. ``kind`` is the file format, which fixes the range for PPM.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _grey_pixels(image, kind)
    if image.mode == "LAB":
        image = _from_lab(image)
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    # In strips, because a strip stays in the processor's cache from its conversion to its copy: three times faster
    # than numpy.asarray(image) at 12 megapixels, and a CMYK or RGBA photo needs no second whole picture.
    rows = max(1, _STRIP_BYTES // (3 * width))
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        strip = _plain_rgb(image.crop((0, top, width, bottom)))
        pixels[top:bottom] = np.frombuffer(strip.tobytes(), np.uint8).reshape(bottom - top, width, 3)
    return pixels


def _plain_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        return _on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode != "RGBA":
        image = image.convert("RGBA")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return white


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    converted = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert converted is not None  # only with inPlace=True
    return converted


def _grey_pixels(image: Image.Image, kind: str | None) -> NDArray[np.uint8]:
    samples: NDArray[Any] = np.asarray(image)
    if image.mode.startswith("I;16") or (kind == "PPM" and image.mode == "I"):
        wide = samples.astype(np.uint32)
        grey = ((wide * 255 + 32767) // 65535).astype(np.uint8)
    else:
        grey = _scaled(samples)
    hidden = image.info.get("transparency")
    if isinstance(hidden, int):  # PNG's tRNS: this one grey value is transparent
        grey[samples == hidden] = 255
    return np.repeat(grey[:, :, np.newaxis], 3, axis=2)


def _scaled(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Floats or 32-bit integers to 8 bits: the range 0..1 (floats only), 0..255 or 0..65535, the first that holds
    all samples, else lowest..highest. NaN and infinities count as 0.
    """
    values = np.where(np.isfinite(samples), samples, 0).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if low >= 0:
        tops = (1.0, 255.0, 65535.0) if samples.dtype.kind == "f" else (255.0, 65535.0)
        top = next((top for top in tops if high <= top), None)
        if top is not None:
            low, high = 0.0, top
    span = high - low
    if not span > 0:
        return np.zeros(values.shape, np.uint8)
    return cast("NDArray[np.uint8]", ((values - low) * (255.0 / span) + 0.5).astype(np.uint8))


def rgb_profile(image: Image.Image) -> bytes | None:
    """The ICC profile, if it is one for RGB: the profile of a CMYK or grey file is wrong for the RGB pixels."""
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile[16:20] == b"RGB ":
        return profile
    return None


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
