"""Decoding: from a file, bytes or an array to upright RGB pixels, or to an :class:`~aicli.errors.ImageError`.

>>> photo = open_image("examples/grace_hopper.jpg")
>>> photo.pixels.shape, photo.pixels.dtype
((600, 512, 3), dtype('uint8'))
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image

from aicli._record import Record
from aicli._text import shown
from aicli.errors import Hint, ImageError, ImageTooLargeError
from aicli.image.formats import HEAD_BYTES
from aicli.image.frames import Frames, OpenImage, frames_of
from aicli.image.guard import check_size, guarded
from aicli.image.pixels import rgb_pixels, rgb_profile
from aicli.image.reading import MAX_STREAM_BYTES, open_file, read_stream, require_kind, stream_name
from aicli.image.upright import transparent_picture, turn_upright, upright_exif
from aicli.options import SandboxOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "MAX_STREAM_BYTES",
    "DecodedImage",
    "ImageSource",
    "as_value",
    "open_frames",
    "open_image",
    "read_stream",
]

_PAGES = ("TIFF", "JPEG", "HEIF")

DEFAULT_MAX_PIXELS = SandboxOptions.max_pixels
"""The most pixels that an image may have unless the caller says otherwise."""

ImageSource = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | Image.Image
    | np.ndarray[Any, np.dtype[np.uint8]]
)
"""What :func:`open_image` takes."""


class DecodedImage(Record):
    """One image, upright.

    ``pixels`` is RGB, uint8, height x width x 3, C-contiguous and read-only. ``icc_profile`` describes its colours
    where it is not None. ``exif`` is the metadata block (from ``Exif\\0\\0`` on) with its orientation set to 1.
    ``full_width`` and ``full_height`` are the upright size of the original; they differ from ``width`` and
    ``height`` only where ``min_size`` let the decoder skip detail. ``messages`` is what the decoder's library printed
    about the file: how many lines, and the first ones. ``kind`` is its format; it is ``frame`` (from 0) of ``frames``,
    which an animation shows for ``duration`` milliseconds, and runs ``plays`` times (0: without end). ``part`` says
    what of a raw photo it is. ``transparent`` is the picture, LA or RGBA, where it was asked for and can be seen
    through.
    """

    name: str
    pixels: NDArray[np.uint8]
    icc_profile: bytes | None = None
    exif: bytes | None = None
    full_width: int = 0
    full_height: int = 0
    messages: tuple[int, tuple[str, ...]] = (0, ())
    kind: str | None = None
    frame: int = 0
    frames: int = 1
    duration: int = 0
    part: str | None = None
    plays: int = 0
    transparent: Image.Image | None = None

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    if not TYPE_CHECKING:

        def __init__(self, *values: Any, **keywords: Any) -> None:
            super().__init__(*values, **keywords)
            if not self.full_width:
                self.__dict__.update(full_width=self.width, full_height=self.height)

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def shown_for(self) -> int:
        """Milliseconds for which an animation of the frames shows it: of pages, which have no time, a second."""
        return self.duration or (1000 if self.kind in _PAGES else 0)

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
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "<array>", max_pixels)
    with _opened(source, name, max_pixels) as (frames, label), guarded(label, frames.kind):
        return _finish(frames, frames.first, label, max_pixels, min_size)


def open_frames(
    source: ImageSource,
    *,
    name: str | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    min_size: int | None = None,
    max_frames: int | None = None,
    keep_transparent: bool = False,
) -> Iterator[DecodedImage]:
    """Decodes every frame of an animation, page of a TIFF, picture of an MPO or HEIF file, one after the other.

    ``source`` and the rest are those of :func:`open_image`. With ``keep_transparent`` the images have their
    ``transparent`` picture. Raises as it does, ImageTooLargeError for a file of more than ``max_frames``, and
    ImageError where it ends before its last frame.
    """
    if isinstance(source, np.ndarray):
        yield _from_array(source, name or "<array>", max_pixels)
        return
    with _opened(source, name, max_pixels) as (frames, label):
        if max_frames is not None and frames.count > max_frames:
            raise ImageTooLargeError(
                f"{frames.count:,} frames, the limit is {max_frames:,}",
                hint=Hint("max_frames", "split it or raise the limit with {}"),
            ).of(shown(label))
        for index in range(frames.count):
            try:
                with guarded(label, frames.kind):
                    image = _finish(frames, index, label, max_pixels, min_size, keep_transparent=keep_transparent)
            except ImageError as error:
                if index == 0:
                    raise
                message = f"{error.message} (frame {index} of {frames.count})"
                raise type(error)(message, hint=error.hint).of(error.subject) from error
            yield image


def as_value(source: ImageSource | DecodedImage) -> ImageSource | DecodedImage:
    """The same image as a value that another process can be given: a path's text, a stream's bytes with its name.

    Raises ImageError for a stream that cannot be read, TypeError for what is no image.
    """
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, os.PathLike):  # one of another class may not arrive: an entry of os.scandir cannot be pickled
        return os.fsdecode(source)
    if isinstance(source, (str, bytes, Image.Image, np.ndarray, DecodedImage)):
        return source
    if not hasattr(source, "read"):
        raise not_an_image(source)
    label = stream_name(source)
    held = io.BytesIO(read_stream(source, label))
    held.name = label
    return held


def not_an_image(source: object) -> TypeError:
    what = "a path, bytes, a binary stream, a Pillow image or an array"
    return TypeError(f"an image is {what}, not {type(source)!r}")


@contextmanager
def _opened(source: Any, name: str | None, max_pixels: int) -> Iterator[tuple[Frames, str]]:
    """The frames of a source that is no array, and what it is called."""
    with ExitStack() as stack:
        suffix = ""
        if isinstance(source, (str, os.PathLike)):
            path = os.fsdecode(source)  # an entry of os.scandir(b"...") has bytes
            label, suffix = path if name is None else name, os.path.splitext(path)[1]
            file: IO[bytes] = stack.enter_context(open_file(path, label))
        elif isinstance(source, (bytes, bytearray, memoryview)):
            label, file = name or "<bytes>", io.BytesIO(source)
        elif isinstance(source, Image.Image):
            label = name or os.fsdecode(getattr(source, "filename", "") or "<image>")
            yield OpenImage(source, None, label), label
            return
        elif hasattr(source, "read"):
            label = name or stream_name(source)
            file, suffix = io.BytesIO(read_stream(source, label)), os.path.splitext(label)[1]
        else:
            raise not_an_image(source)
        kind = require_kind(file.read(HEAD_BYTES), label, suffix)
        file.seek(0)
        with guarded(label, kind):
            frames = stack.enter_context(frames_of(kind, file, label, max_pixels))
        yield frames, label


def _from_array(array: NDArray[Any], label: str, max_pixels: int) -> DecodedImage:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        shape = "x".join(map(str, array.shape)) or "no"
        raise ImageError(f"an array of {array.dtype}, shape {shape}; give uint8 RGB, height x width x 3").of(
            shown(label)
        )
    check_size(array.shape[1], array.shape[0], label, max_pixels)
    pixels = np.ascontiguousarray(array).view(np.ndarray)
    return DecodedImage(label, _read_only(pixels))


def _read_only(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    view = np.ascontiguousarray(pixels).view()
    view.flags.writeable = False
    return view


def _finish(
    frames: Frames, index: int, label: str, max_pixels: int, min_size: int | None, *, keep_transparent: bool = False
) -> DecodedImage:
    image, full, turn, duration, plays = frames.load(index, max_pixels, min_size)
    upright = turn_upright(image, turn)
    pixels = rgb_pixels(upright, frames.kind)
    transparent = None
    if keep_transparent and upright.has_transparency_data and not upright.mode.startswith("I"):
        transparent = transparent_picture(upright)
    if turn >= 5:
        full = (full[1], full[0])
    said = frames.messages
    return DecodedImage(
        label,
        _read_only(pixels),
        rgb_profile(image),
        upright_exif(image),
        *full,
        messages=(said.count, tuple(said.first)),
        kind=frames.kind,
        frame=index,
        frames=frames.count,
        duration=duration,
        part=frames.part,
        plays=plays,
        transparent=transparent,
    )
