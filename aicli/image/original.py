"""The picture of a file as it is stored, where it is more than RGB pixels: transparent, grey, or one of several."""

from __future__ import annotations

import io
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, cast

from PIL import Image

from aicli.errors import AicliError
from aicli.image.decode import DEFAULT_MAX_PIXELS, DecodedImage, ImageSource, open_image
from aicli.image.formats import HEAD_BYTES, identify, open_with
from aicli.image.frames import frames_of
from aicli.image.guard import guarded
from aicli.image.reading import open_file, read_stream, stream_name
from aicli.image.upright import transparent_picture, turn_upright

__all__ = ["holds_several", "is_grey", "open_original", "open_transparent"]

_KINDS = ("JPEG", "PNG", "WebP")


def open_original(
    source: ImageSource | DecodedImage, *, name: str | None = None, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Image.Image:
    """The picture of any source: L, LA or RGBA where it is grey or transparent, else RGB; a Pillow image as it is.

    All others are upright. Raises as :func:`aicli.image.decode.open_image` does.
    """
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, DecodedImage):
        return source.transparent or source.to_pil()
    if isinstance(source, (str, os.PathLike)):
        source = Path(os.fsdecode(source))
    elif isinstance(source, (bytearray, memoryview)):
        source = bytes(source)
    elif hasattr(source, "read"):
        source = cast("BinaryIO", source)
        name = name or stream_name(source)
        source = read_stream(source, name)
    image = open_image(source, name=name, max_pixels=max_pixels)
    picture = image.to_pil()
    if not isinstance(source, (Path, bytes)):
        return picture
    transparent = open_transparent(source, name=image.name, max_pixels=max_pixels)
    if transparent is not None and transparent.size == picture.size:
        return transparent
    return picture.convert("L") if is_grey(source) else picture


def is_grey(source: Path | bytes) -> bool:
    """Whether a JPEG, PNG or WebP has grey pixels and no others, as its header says."""
    try:
        with _opened(source) as stream:
            kind = identify(stream.read(HEAD_BYTES), _suffix(source))
            if kind not in _KINDS:
                return False
            stream.seek(0)
            with guarded("", kind), open_with(kind, stream) as image:
                return image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16")
    except AicliError:  # it was decoded before
        return False


def holds_several(path: Path, *, max_pixels: int) -> bool:
    """Whether a JPEG file has more than one picture (MPO), as its headers say; gain maps and copies are none."""
    try:
        with _opened(path) as stream:
            if identify(stream.read(HEAD_BYTES), path.suffix) != "JPEG":
                return False
            stream.seek(0)
            with guarded("", "JPEG"), frames_of("JPEG", stream, "", max_pixels) as frames:
                return frames.count > 1
    except AicliError:  # which is said where it is decoded
        return False


def open_transparent(source: Path | bytes, *, name: str, max_pixels: int) -> Image.Image | None:
    """The upright picture of a PNG or WebP, LA or RGBA; ``None`` where nothing in it can be transparent.

    Raises :class:`AicliError` as :func:`aicli.image.decode.open_image` does.
    """
    with _opened(source) as stream:
        kind = identify(stream.read(HEAD_BYTES), _suffix(source))
        if kind not in ("PNG", "WebP"):
            return None
        stream.seek(0)
        with guarded(name, kind), open_with(kind, stream) as image:
            if not image.has_transparency_data:
                return None
        stream.seek(0)
        with guarded(name, kind), frames_of(kind, stream, name, max_pixels) as frames:
            loaded = frames.load(frames.first, max_pixels, None)
            return transparent_picture(turn_upright(loaded.image, loaded.turn))


def _opened(source: Path | bytes) -> AbstractContextManager[BinaryIO]:
    return io.BytesIO(source) if isinstance(source, bytes) else open_file(os.fspath(source), os.fspath(source))


def _suffix(source: Path | bytes) -> str:
    return "" if isinstance(source, bytes) else source.suffix
