"""Animations and pages: several pictures in one file, each shown as long as in its source."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Literal, NamedTuple

from PIL import Image

from aicli.errors import AicliError, Hint, ImageError, ImageTooLargeError, UsageError
from aicli.output.pictures.saving import (
    IMAGE_SUFFIXES,
    ImageMetadata,
    check_quality,
    check_sides,
    fitting,
    metadata_options,
)

__all__ = ["ANIMATION_SUFFIXES", "Animation", "animation_format", "encode_animation"]

ANIMATION_SUFFIXES = {".png": "PNG", ".gif": "GIF", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
MOST_PLAYS = 0xFFFF
"""So often GIF and WebP can be played, but for without end; PNG has 32 bits for it."""
LONGEST = {"GIF": 655_350, "WEBP": (1 << 24) - 1}
"""Milliseconds that a frame can be shown."""
_SEEN = 128  # a GIF shows a pixel or does not: from this opacity on it does


class Shown(NamedTuple):
    image: Image.Image
    duration: int


class Animation:
    """Collects the frames of a picture; ``max_pixels`` bounds those of all frames together, and so its memory."""

    def __init__(self, name: str, max_pixels: int, plays: int = 0) -> None:
        self.name, self.plays, self.frames = name, plays, list[Shown]()
        self._max_pixels, self._pixels = max_pixels, 0

    @classmethod
    def of(cls, picture: Image.Image) -> Animation:
        """One picture, in a format that could hold more."""
        animation = cls("", picture.width * picture.height, 1)
        animation.add(picture, 0)
        return animation

    def add(self, image: Image.Image, duration: int) -> None:
        """Takes a frame that is shown for ``duration`` milliseconds. Raises :class:`ImageTooLargeError`."""
        self._pixels += image.width * image.height
        if self._pixels > self._max_pixels:
            raise ImageTooLargeError(
                f"{self.name}: the {len(self.frames) + 1} first frames have {self._pixels:,} pixels together, and a "
                f"picture of all is written of {self._max_pixels:,} at most",
                hint=Hint("max_pixels", "raise the limit with {}"),
            )
        self.frames.append(Shown(image, duration))


def animation_format(path: str | os.PathLike[str]) -> str:
    """Pillow's name of the format that a file's suffix asks for. Raises :class:`UsageError` for any other suffix."""
    suffix = PurePath(path).suffix.lower()
    if suffix not in ANIMATION_SUFFIXES | IMAGE_SUFFIXES:
        accepted = ", ".join(ANIMATION_SUFFIXES)
        raise UsageError(f"{os.fspath(path)}: all frames are written as {accepted} by the suffix, not {suffix}")
    return (ANIMATION_SUFFIXES | IMAGE_SUFFIXES)[suffix]


def encode_animation(
    animation: Animation,
    format: str,
    *,
    name: str | os.PathLike[str] = "the picture",
    metadata: ImageMetadata | None = None,
    exif: Literal["kept", "plain", "dropped"] = "kept",
    quality: int | None = None,
) -> memoryview:
    """The bytes of an animated ``GIF``, ``PNG`` or ``WEBP``, or of a ``TIFF`` with a page for each frame.

    Metadata and ``quality`` are as for :func:`aicli.output.pictures.saving.encode_image`. A GIF has up to 256 colours
    in each frame and no half transparent pixels. Frames that do not differ become one, shown as long as all of them.
    Raises :class:`AicliError` for what the format cannot hold: frames of several sizes but in a TIFF, any in a JPEG.
    """
    check_quality(quality)
    images = [shown.image for shown in animation.frames]
    if format == "JPEG":
        raise AicliError(
            f"{os.fspath(name)}: a JPEG cannot hold {len(images)} frames; write .png, .webp or .gif",
            hint=Hint("picture_format", "{} png does so in a folder"),
        )
    if format != "TIFF" and len({image.size for image in images}) > 1:
        raise ImageError(f"{os.fspath(name)}: frames of several sizes, which {format} cannot hold; write .tiff")
    for image in images:
        check_sides(image, format, name)
    clear = any(image.mode in ("LA", "RGBA") for image in images)
    plain = [fitting(image if image.mode == "RGB" or not clear else image.convert("RGBA"), format) for image in images]
    options = format_options(animation, format, clear=clear, quality=quality)
    if format == "GIF":
        plain = [in_palette(image) for image in plain]
    else:
        if clear and format != "TIFF":  # of one kind, as the first frame says which it is
            plain = [image.convert("RGBA") for image in plain]
        options |= metadata_options(plain[0], format, metadata or ImageMetadata(), exif)
    encoded = io.BytesIO()
    try:
        plain[0].save(encoded, format, save_all=True, append_images=plain[1:], **options)
    except (ValueError, SyntaxError, OSError, OverflowError, RuntimeError, struct.error) as error:
        raise AicliError(f"{os.fspath(name)}: cannot be written as {format}: {error}") from error
    return encoded.getbuffer()


def format_options(animation: Animation, format: str, *, clear: bool, quality: int | None) -> dict[str, Any]:
    if format == "TIFF":
        return {"compression": "tiff_deflate"}
    longest = LONGEST.get(format)
    durations: Sequence[int] = [min(shown.duration, longest or shown.duration) for shown in animation.frames]
    options: dict[str, Any] = {"duration": durations}
    if format == "GIF":
        options |= {"disposal": 2 if clear else 1, "optimize": False}
        if animation.plays != 1:  # a GIF says how often it is repeated, and nothing for once
            options["loop"] = min(max(0, animation.plays - 1), MOST_PLAYS)
        return options
    plays = min(animation.plays, MOST_PLAYS) if format == "WEBP" else animation.plays
    return options | {"loop": plays} | ({"quality": quality or 90} if format == "WEBP" else {})


def in_palette(image: Image.Image) -> Image.Image:
    """The picture in colours of its own, one of them the transparent one where it needs it."""
    if image.mode != "RGBA":
        return image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    hidden = image.getchannel("A").point(lambda value: 0 if value >= _SEEN else 255)
    picture = image.convert("RGB")
    picture.paste((0, 0, 0), mask=hidden)
    result = picture.quantize(255, dither=Image.Dither.NONE)
    result.paste(255, mask=hidden)
    result.info["transparency"] = 255
    return result
