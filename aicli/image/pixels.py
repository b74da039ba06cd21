"""From any Pillow mode to RGB, 8 bits a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["rgb_pixels", "rgb_profile"]

_STRIP_BYTES = 500_000


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
