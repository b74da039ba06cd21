"""The pictures in a file, decoded one at a time: here, or in the decoder process where the format needs it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from PIL import Image

from aicli._text import shown
from aicli.errors import ImageTooLargeError
from aicli.image.formats import RAW, open_with, require_plugin
from aicli.image.guard import Messages, check_size
from aicli.image.headers import check_scans, count_gif, further_pictures, hidden_sizes
from aicli.image.reading import MAX_STREAM_BYTES
from aicli.image.upright import orientation

if TYPE_CHECKING:
    from aicli.image.raw import Embedded

__all__ = ["Frames", "Loaded", "OpenImage", "frames_of"]


APART = frozenset(("AVIF", "HEIF", "JPEG 2000"))
"""Formats that are decoded there always; of TIFF, what libtiff has to unpack."""


class Loaded(NamedTuple):
    """A decoded frame; ``full_size`` is that of the file's frame, before it was turned (``turn``: Exif 1 to 8).

    ``duration`` is how long an animation shows it, in milliseconds, ``plays`` how often it runs (0: without end).
    """

    image: Image.Image
    full_size: tuple[int, int]
    turn: int
    duration: int = 0
    plays: int = 0


class Frames(Protocol):
    """The frames of one file. ``first`` is the one that stands for the file, ``part`` what was taken of a raw photo."""

    kind: str | None
    count: int
    first: int
    part: str | None
    messages: Messages

    def load(self, index: int, max_pixels: int, min_size: int | None) -> Loaded:
        """Raises whatever a decoder raises, EOFError for a frame that is not there, and ImageTooLargeError."""


@contextmanager
def frames_of(kind: str, stream: IO[bytes], label: str, max_pixels: int) -> Iterator[Frames]:
    """The frames of a file of this kind. Raises whatever a decoder raises, and ImageTooLargeError."""
    if kind in RAW or kind == "TIFF":
        from aicli.image.raw import find_embedded

        embedded = find_embedded(kind, stream, label)
        if embedded is not None:
            with _frames_of(embedded.kind, io.BytesIO(embedded.data), label, max_pixels) as frames:
                yield _Part(frames, embedded)
            return
    with _frames_of(kind, stream, label, max_pixels) as frames:
        yield frames


def _tiff_pages(stream: IO[bytes]) -> list[int]:
    from aicli.image.tiff import pages, read_directories

    return pages(read_directories(stream))


@contextmanager
def _frames_of(kind: str, stream: IO[bytes], label: str, max_pixels: int) -> Iterator[Frames]:
    for size in hidden_sizes(kind, stream):
        check_size(*size, label, max_pixels)
    if kind in APART:
        require_plugin(kind)
        yield _Apart(kind, stream, label)
        return
    if kind == "JPEG":
        check_scans(stream, label)
    places = _tiff_pages(stream) if kind == "TIFF" else []
    with open_with(kind, stream) as image:
        for size in hidden_sizes(kind, stream, image):
            check_size(*size, label, max_pixels)
        if kind == "TIFF" and needs_libtiff(image):
            stream.seek(0)
            yield _Apart(kind, stream, label, places)
            return
        yield OpenImage(image, kind, label, places, stream)


def needs_libtiff(image: Any) -> bool:
    """Whether the page that a TIFF stands at is compressed."""
    return any(tile[0] == "libtiff" for tile in image.tile)


class OpenImage:
    """A file that Pillow decodes in this process, but for the pages of a TIFF that are compressed."""

    part: str | None = None

    def __init__(
        self,
        image: Image.Image,
        kind: str | None,
        label: str,
        places: Sequence[int] = (),
        stream: IO[bytes] | None = None,
    ) -> None:
        self.kind, self.messages, self._label = kind, Messages(), label
        self._image: Any = image
        self._places, self._stream = places, stream
        self._others = further_pictures(image, stream) if kind == "JPEG" and stream is not None else []
        if kind == "GIF" and stream is not None:
            self.count = count_gif(stream)
        elif kind is None or kind == "JPEG":  # of a Pillow image the caller has chosen the frame
            self.count = 1 + len(self._others)
        else:
            self.count = len(places) or int(getattr(image, "n_frames", 1))
        self.first = 0
        self._apart: _Apart | None = None

    def load(self, index: int, max_pixels: int, min_size: int | None) -> Loaded:
        image = self._image
        if index and self._others:
            assert self._stream is not None
            offset, length = self._others[index - 1]
            self._stream.seek(offset)
            picture = io.BytesIO(self._stream.read(length))
            check_scans(picture, self._label)
            image = open_with("JPEG", picture)
        elif self.kind is not None and self.kind != "JPEG":
            place = self._places[index] if self._places else index
            if place != image.tell():
                image.seek(place)
            if self.kind == "TIFF" and needs_libtiff(image):
                return self._elsewhere().load(index, max_pixels, min_size)
        size = image.size
        if self.kind == "JPEG" and min_size:
            draft(image, min_size, max_pixels)
        check_size(image.width, image.height, self._label, max_pixels)
        image.load()
        # Only now: TIFF turns itself while it loads, and PNG may carry its Exif block behind the pixels.
        full_size = size if self.kind == "JPEG" else image.size
        return Loaded(image, full_size, orientation(image), int(image.info.get("duration") or 0), self._plays())

    def _elsewhere(self) -> _Apart:
        if self._apart is None:
            assert self.kind is not None and self._stream is not None
            self._stream.seek(0)
            self._apart = _Apart(self.kind, self._stream, self._label, self._places)
            self.messages = self._apart.messages
        return self._apart

    def _plays(self) -> int:
        """A GIF says how often it is repeated, or nothing; the other formats say how often they run."""
        loop = self._image.info.get("loop")
        if self.kind == "GIF":
            return 1 if loop is None else loop and int(loop) + 1
        return int(loop or 0)


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

    part: str | None = None

    def __init__(self, kind: str, stream: IO[bytes], label: str, places: Sequence[int] = ()) -> None:
        self.kind: str | None = kind
        self._places = places
        self._kind, self.messages, self._label = kind, Messages(), label
        self._data = stream.read(MAX_STREAM_BYTES + 1)
        if len(self._data) > MAX_STREAM_BYTES:
            raise ImageTooLargeError(
                f"a {kind} file of more than {MAX_STREAM_BYTES:,} bytes; make it smaller first"
            ).of(shown(label))
        from aicli.image.decoder_process import decoder_process  # and what it takes to start a process

        self._process = decoder_process()
        header = self._process.open(self, kind, self._data, self.messages)
        self.count, self.first = len(places) or header["frames"], 0 if places else header["first"]
        self._size: tuple[int, int] = tuple(header["size"])

    def load(self, index: int, max_pixels: int, min_size: int | None) -> Loaded:
        if index == self.first:
            check_size(*self._size, self._label, max_pixels)
        from aicli.image.decoder_process import image_of

        place = self._places[index] if self._places else index
        header, pixels = self._process.frame(self, self._kind, self._data, place, max_pixels, self.messages)
        size = cast("tuple[int, int]", tuple(header["size"]))
        check_size(*size, self._label, max_pixels)
        return Loaded(image_of(header, pixels), size, header["orientation"], int(header.get("duration", 0)))


class _Part:
    """The picture in a raw photo, turned as the photo says where the picture itself does not say it."""

    count, first = 1, 0

    def __init__(self, frames: Frames, embedded: Embedded) -> None:
        self._frames, self._orientation = frames, embedded.orientation
        self.part: str | None = embedded.part
        self.kind, self.messages = frames.kind, frames.messages

    def load(self, index: int, max_pixels: int, min_size: int | None) -> Loaded:
        loaded = self._frames.load(self._frames.first, max_pixels, min_size)
        said = loaded.turn != 1 or loaded.image.getexif().get(0x0112) is not None
        return loaded if said else loaded._replace(turn=self._orientation)
