"""The host functions of ``wasmedge_image``, current and legacy, and of ``ssvm_image``.

The generations resize and scale differently, and a guest's printed scores depend on it: the old functions take single
pixels between corners and divide by 255; the current ones filter, and their floats went through a gamma curve of 2.2.
Neither turns a photo upright. Sources: second-state/WasmEdge-image, WasmEdge ``plugins/wasmedge_image``.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aicli.nn.dialects.resample import resize_corners, resize_cubic
from aicli.nn.host import HostModule
from aicli.nn.session import Errno, NnError
from aicli.nn.values import MAX_WORK
from aicli.wasm.runtime import HostFunction

__all__ = ["LEGACY_PREFIXES", "MODULE", "WasmedgeImage"]

MODULE = "wasmedge_image"
LEGACY_PREFIXES = {MODULE: f"{MODULE}_", "ssvm_image": "ssvm_image_"}
"""The modules with functions of the old signatures, and what those functions' names begin with."""

FAILED = 1
GAMMA = 2.2
TYPES = ("rgb8", "bgr8", "rgb32f", "bgr32f")
"""How a guest wants its pixels, in the order of the current functions' numbers."""
FORMATS = {"jpg": "JPEG", "png": "PNG"}
ANY_FORMAT = ("JPEG", "PNG", "BMP", "GIF", "TGA", "PPM")

Encode = Callable[[NDArray[np.uint8], int, int, str], NDArray[np.generic]]


class Size(NamedTuple):
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


class WasmedgeImage(HostModule):
    """The functions for one guest instance."""

    def functions(self) -> dict[tuple[str, str], HostFunction]:
        """Every function by module and name, of both generations."""
        found = {}
        for name in ("load_jpg", "load_png", "load_image"):
            call = self._guard(self.load, FAILED)
            found[MODULE, name] = HostFunction(MODULE, name, ("i32",) * 7, ("i32",), call)
        for module, prefix in LEGACY_PREFIXES.items():
            for source, format_ in FORMATS.items():
                for kind in TYPES:
                    name = f"{prefix}load_{source}_to_{kind}"
                    call = self._guard(partial(self.load_legacy, format_, kind), FAILED)
                    found[module, name] = HostFunction(module, name, ("i32",) * 5, ("i32",), call)
        return found

    def load(self, data: int, length: int, width: int, height: int, kind: int, out: int, size: int) -> None:
        if kind >= len(TYPES):
            raise NnError(Errno.INVALID_ARGUMENT, f"there is no pixel type {kind}")
        needed = image_bytes(width, height, TYPES[kind])
        if size < needed:
            raise NnError(Errno.INVALID_ARGUMENT, f"an image of {needed} bytes does not fit a buffer of {size}")
        self._store(data, length, ANY_FORMAT, encode_current, width, height, TYPES[kind], out)

    def load_legacy(self, format_: str, kind: str, data: int, length: int, width: int, height: int, out: int) -> None:
        self._store(data, length, (format_,), encode_legacy, width, height, kind, out)

    def _store(
        self,
        data: int,
        length: int,
        formats: tuple[str, ...],
        encode: Encode,
        width: int,
        height: int,
        kind: str,
        out: int,
    ) -> None:
        view = self._memory().view(out, image_bytes(width, height, kind))
        pixels = decode(self._read(data, length), formats, Size(width, height))
        values = encode(pixels, width, height, kind)
        if kind.startswith("bgr"):
            values = values[:, :, ::-1]
        view[:] = np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def image_bytes(width: int, height: int, kind: str) -> int:
    if not (width and height):
        raise NnError(Errno.INVALID_ARGUMENT, f"an image of {width} x {height} pixels")
    return width * height * 3 * (4 if kind.endswith("32f") else 1)


def work_bytes(source: Size, wanted: Size) -> int:
    """What a picture takes at most: decoded and as an array, filtered in one direction and in both, with copies."""
    return 14 * source.pixels + 24 * source.width * wanted.height + 40 * wanted.pixels


def decode(data: bytes, formats: tuple[str, ...], wanted: Size) -> NDArray[np.uint8]:
    """The pixels as they lie in the file, height x width x 3, RGB; transparency is dropped.

    Refuses a picture that is too large, in the file or on its way to the size that is wanted.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow's own limit is lower than the one below, and its warning would go to the user's terminal.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=formats)
        with image:
            source = Size(*image.size)
            if work_bytes(source, wanted) > MAX_WORK:
                reason = f"{source.width} x {source.height} pixels to {wanted.width} x {wanted.height}"
                raise NnError(Errno.TOO_LARGE, f"an image of {reason} needs more memory than there is for one")
            pixels: NDArray[np.uint8] = np.asarray(image.convert("RGB"))
            return pixels
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise NnError(Errno.INVALID_ARGUMENT, f"the guest's image cannot be read: {error}") from None


def encode_legacy(pixels: NDArray[np.uint8], width: int, height: int, kind: str) -> NDArray[np.generic]:
    resized = resize_corners(pixels, width, height)
    if kind.endswith("32f"):
        scaled: NDArray[np.float32] = (resized / 255.0).astype("<f4")
        return scaled
    return resized


def encode_current(pixels: NDArray[np.uint8], width: int, height: int, kind: str) -> NDArray[np.generic]:
    if kind.endswith("32f"):
        curve = ((np.arange(256) / 255.0) ** GAMMA).astype(np.float32)
        return resize_cubic(pixels, width, height, curve)
    resized = resize_cubic(pixels, width, height)
    resized += 0.5
    np.clip(resized, 0, 255, out=resized)
    rounded: NDArray[np.uint8] = resized.astype(np.uint8)
    return rounded
