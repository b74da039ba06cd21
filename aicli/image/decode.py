"""Decoding: from a file, bytes or an array to upright RGB pixels, or to an :class:`~aicli.errors.ImageError`.

>>> photo = open_image("examples/grace_hopper.jpg")
>>> photo.pixels.shape, photo.pixels.dtype
((600, 512, 3), dtype('uint8'))
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aicli._text import shown
from aicli.errors import ImageError
from aicli.image.formats import HEAD_BYTES
from aicli.image.frames import Frames, OpenImage, open_frames
from aicli.image.guard import check_size, guarded
from aicli.image.pixels import rgb_pixels, rgb_profile
from aicli.image.reading import MAX_STREAM_BYTES, open_file, read_stream, require_kind, stream_name
from aicli.image.upright import turn_upright, upright_exif
from aicli.options import SandboxOptions

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "MAX_STREAM_BYTES",
    "DecodedImage",
    "ImageSource",
    "open_image",
    "read_stream",
]

DEFAULT_MAX_PIXELS = SandboxOptions.max_pixels
"""The most pixels that an image may have unless the caller says otherwise."""

ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8]
"""What :func:`open_image` takes."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """One image, upright.

    ``pixels`` is RGB, uint8, height x width x 3, C-contiguous and read-only. ``icc_profile`` describes its colours
    where it is not None. ``exif`` is the metadata block (from ``Exif\\0\\0`` on) with its orientation set to 1.
    ``full_width`` and ``full_height`` are the upright size of the original; they differ from ``width`` and
    ``height`` only where ``min_size`` let the decoder skip detail. ``messages`` is what the decoder's library printed
    about the file: how many lines, and the first ones.
    """

    name: str
    pixels: NDArray[np.uint8]
    icc_profile: bytes | None = None
    exif: bytes | None = None
    full_width: int = 0
    full_height: int = 0
    messages: tuple[int, tuple[str, ...]] = (0, ())

    def __post_init__(self) -> None:
        if not self.full_width:
            object.__setattr__(self, "full_width", self.width)
            object.__setattr__(self, "full_height", self.height)

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    def to_pil(self) -> Image.Image:
        """A new Pillow image, RGB, with the metadata in its ``info``."""
        image = Image.fromarray(self.pixels)
        for key, value in (("icc_profile", self.icc_profile), ("exif", self.exif)):
            if value is not None:
                image.info[key] = value
        return image


def open_image(
    source: ImageSource,
    *,
    name: str | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    min_size: int | None = None,
) -> DecodedImage:
    """Decode the first frame of ``source``, turn it upright and make it RGB, 8 bits a sample.

    ``source`` is a path, the bytes of a file, a binary stream (read from where it stands), a Pillow image (left as it
    is, apart from being loaded) or a uint8 RGB array height x width x 3 (not copied if it is contiguous).
    ``name`` stands for the image in results and messages; by default the path. Transparent pixels become white.
    ``max_pixels`` is checked against the header before anything is decoded. ``min_size`` allows a JPEG to be decoded
    at 1/2, 1/4 or 1/8 of its size where that leaves no remainder and both sides keep ``2 * min_size`` pixels, which is
    several times faster.

    Raises ImageError (missing, no regular file, unreadable, empty, truncated, no image, HEIC without its extra) and
    ImageTooLargeError; TypeError for a source of another type.
    """
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        label = path if name is None else name
        with open_file(path, label) as file:
            return _decode(file, label, max_pixels, min_size, suffix=os.path.splitext(path)[1])
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(io.BytesIO(source), name or "<bytes>", max_pixels, min_size)
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "<array>", max_pixels)
    if isinstance(source, Image.Image):
        label = name or os.fsdecode(getattr(source, "filename", "") or "<image>")
        with guarded(label, None):
            opened = OpenImage(source, None, label)
            return _finish(opened, opened.first, label, max_pixels, None)
    if hasattr(source, "read"):
        label = name or stream_name(source)
        data = read_stream(source, label)
        return _decode(io.BytesIO(data), label, max_pixels, min_size, suffix=os.path.splitext(label)[1])
    raise TypeError(f"an image is a path, bytes, a binary stream, a Pillow image or an array, not {type(source)!r}")


def _from_array(array: NDArray[Any], label: str, max_pixels: int) -> DecodedImage:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        shape = "x".join(map(str, array.shape)) or "no"
        raise ImageError(
            f"{shown(label)}: an array of {array.dtype}, shape {shape}; give uint8 RGB, height x width x 3"
        )
    check_size(array.shape[1], array.shape[0], label, max_pixels)
    pixels = np.ascontiguousarray(array).view(np.ndarray)
    return DecodedImage(label, _read_only(pixels))


def _read_only(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    view = np.ascontiguousarray(pixels).view()
    view.flags.writeable = False
    return view


def _decode(stream: IO[bytes], label: str, max_pixels: int, min_size: int | None, *, suffix: str = "") -> DecodedImage:
    kind = require_kind(stream.read(HEAD_BYTES), label, suffix)
    stream.seek(0)
    with guarded(label, kind), open_frames(kind, stream, label, max_pixels) as frames:
        return _finish(frames, frames.first, label, max_pixels, min_size)


def _finish(frames: Frames, index: int, label: str, max_pixels: int, min_size: int | None) -> DecodedImage:
    image, full, turn = frames.load(index, max_pixels, min_size)
    pixels = rgb_pixels(turn_upright(image, turn), frames.kind)
    if turn >= 5:
        full = (full[1], full[0])
    said = frames.messages
    return DecodedImage(
        label, _read_only(pixels), rgb_profile(image), upright_exif(image), *full, (said.count, tuple(said.first))
    )
