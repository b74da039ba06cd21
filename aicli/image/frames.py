"""The pictures in a file, decoded one at a time: here, or in the decoder process where the format needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple, Protocol, cast

from PIL import Image

from aicli._text import shown
from aicli.errors import ImageTooLargeError
from aicli.image.formats import open_with, require_plugin
from aicli.image.guard import Messages, check_size
from aicli.image.headers import hidden_sizes
from aicli.image.reading import MAX_STREAM_BYTES
from aicli.image.upright import orientation

__all__ = ["Frames", "Loaded", "OpenImage", "open_frames"]


APART = frozenset(("AVIF", "HEIF", "JPEG 2000"))
"""Formats that are decoded there always; of TIFF, what libtiff has to unpack."""


class Loaded(NamedTuple):
    """A decoded frame; ``full_size`` is that of the file's frame, before it was turned (``turn``: Exif 1 to 8)."""

    image: Image.Image
    full_size: tuple[int, int]
    turn: int


class Frames(Protocol):
    """The frames of one file. ``first`` is the one that stands for the file."""

    kind: str | None
    count: int
    first: int
    messages: Messages

    def load(self, index: int, max_pixels: int, min_size: int | None) -> Loaded:
        """Raises whatever a decoder raises, EOFError for a frame that is not there, and ImageTooLargeError."""


@contextmanager
def open_frames(kind: str, stream: IO[bytes], label: str, max_pixels: int) -> Iterator[Frames]:
    """The frames of a file of this kind. Raises whatever a decoder raises, and ImageTooLargeError."""
    for size in hidden_sizes(kind, stream):
        check_size(*size, label, max_pixels)
    if kind in APART:
        require_plugin(kind)
        yield _Apart(kind, stream, label)
        return
    with open_with(kind, stream) as image:
        for size in hidden_sizes(kind, stream, image):
            check_size(*size, label, max_pixels)
        if kind == "TIFF" and any(tile[0] == "libtiff" for tile in cast("Any", image).tile):
            stream.seek(0)
            yield _Apart(kind, stream, label)
            return
        yield OpenImage(image, kind, label)


class OpenImage:
    """A file that Pillow decodes in this process."""

    def __init__(self, image: Image.Image, kind: str | None, label: str) -> None:
        self.kind, self.messages, self._label = kind, Messages(), label
        self._image: Any = image
        self.count = int(getattr(image, "n_frames", 1))
        self.first = image.tell()

    def load(self, index: int, max_pixels: int, min_size: int | None) -> Loaded:
        image = self._image
        if index != image.tell():
            image.seek(index)
        size = image.size
        if self.kind == "JPEG" and min_size:
            draft(image, min_size, max_pixels)
        check_size(image.width, image.height, self._label, max_pixels)
        image.load()
        # Only now: TIFF turns itself while it loads, and PNG may carry its Exif block behind the pixels.
        full_size = size if self.kind == "JPEG" else image.size
        return Loaded(image, full_size, orientation(image))


def draft(image: Image.Image, min_size: int, max_pixels: int) -> None:
    """Has a JPEG decoded at a part of its size that keeps ``2 * min_size`` pixels on both sides.

    A part that leaves a remainder stretches the image by up to a pixel, which only one beyond the limit is worth. A
    progressive one keeps its coefficients in memory in full, whatever its pixels are decoded to.
    """
    width, height = image.size
    too_large = width * height > max_pixels
    if too_large and image.info.get("progressive"):
        return
    for part in (8, 4, 2):
        even = width % part == height % part == 0
        if (even or too_large) and min(width, height) // part >= 2 * min_size:
            image.draft(None, (width // part, height // part))
            break


class _Apart:
    """A file that is decoded in the decoder process."""

    def __init__(self, kind: str, stream: IO[bytes], label: str) -> None:
        self.kind: str | None = kind
        self._kind, self.messages, self._label = kind, Messages(), label
        self._data = stream.read(MAX_STREAM_BYTES + 1)
        if len(self._data) > MAX_STREAM_BYTES:
            raise ImageTooLargeError(
                f"{shown(label)}: a {kind} file of more than {MAX_STREAM_BYTES:,} bytes; make it smaller first"
            )
        from aicli.image.decoder_process import decoder_process  # and what it takes to start a process

        self._process = decoder_process()
        header = self._process.open(self, kind, self._data, self.messages)
        self.count, self.first = header["frames"], header["first"]
        self._size: tuple[int, int] = tuple(header["size"])

    def load(self, index: int, max_pixels: int, min_size: int | None) -> Loaded:
        if index == self.first:
            check_size(*self._size, self._label, max_pixels)
        from aicli.image.decoder_process import image_of

        header, pixels = self._process.frame(self, self._kind, self._data, index, max_pixels, self.messages)
        size = cast("tuple[int, int]", tuple(header["size"]))
        check_size(*size, self._label, max_pixels)
        return Loaded(image_of(header, pixels), size, header["orientation"])
