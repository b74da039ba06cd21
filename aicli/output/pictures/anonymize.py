"""Faces made unrecognisable: what is left of each is a grid of at most 8 x 8 averages.

Both methods first reduce a face's area to that grid and build the new pixels from the grid alone, so no sharpening or
guessing of a blur kernel can bring the face back. Small faces get a coarser grid (no cell under 4 pixels).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from PIL import Image, ImageDraw, ImageFilter

from aicli.errors import UsageError
from aicli.results import Box, Face

__all__ = ["METHODS", "Method", "anonymize"]

Method = Literal["blur", "pixelate"]
METHODS: tuple[Method, ...] = ("blur", "pixelate")

_CELLS = 8
_SMALLEST_CELL = 4
_CORNER = 0.35  # radius of the rounded corners of a blurred area, in parts of its shorter side


def anonymize(
    image: Image.Image, faces: Sequence[Face], *, method: Method = "blur", margin: float = 0.15
) -> Image.Image:
    """A new RGB image in which every face's box, enlarged by ``margin`` of its size on each side, is covered.

    ``pixelate`` fills a rectangle with squares of one colour; ``blur`` a rounded area that holds at least the box.
    """
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r} to anonymise faces; choose one of {', '.join(METHODS)}")
    if not (math.isfinite(margin) and margin >= 0):
        raise UsageError(f"the margin around a face must be 0 or more, not {margin}")
    result = image.convert("RGB")
    result.info = {}  # an embedded thumbnail or comment would show what the pixels no longer do
    for face in faces:
        _cover(result, face.box, method, margin)
    return result


def _cover(image: Image.Image, box: Box, method: Method, margin: float) -> None:
    if not all(map(math.isfinite, box)):
        return
    (x1, x2), (y1, y2) = sorted((box.x1, box.x2)), sorted((box.y1, box.y2))
    dx, dy = margin * (x2 - x1), margin * (y2 - y1)
    outer = (math.floor(x1 - dx), math.floor(y1 - dy), math.ceil(x2 + dx), math.ceil(y2 + dy))
    area = (max(0, outer[0]), max(0, outer[1]), min(image.width, outer[2]), min(image.height, outer[3]))
    if area[0] >= area[2] or area[1] >= area[3]:
        return
    pixels = image.crop(area)
    grid = pixels.resize((_cells(pixels.width), _cells(pixels.height)), Image.Resampling.BOX)
    if method == "pixelate":
        image.paste(grid.resize(pixels.size, Image.Resampling.NEAREST), area)
        return
    soft = grid.resize(pixels.size, Image.Resampling.BICUBIC)
    soft = soft.filter(ImageFilter.GaussianBlur(min(pixels.size) / _CELLS))
    image.paste(soft, area, _rounded_mask(outer, area, min(dx, dy)))


def _cells(side: int) -> int:
    return max(1, min(_CELLS, side // _SMALLEST_CELL))


def _rounded_mask(outer: tuple[int, int, int, int], area: tuple[int, int, int, int], inset: float) -> Image.Image:
    """The mask of ``outer`` with rounded corners, cut to ``area``.

    ``inset`` is how far the face's own box lies inside ``outer``: a corner of radius r spares a point (inset, inset)
    from the corner only while r (1 - 1/sqrt(2)) exceeds inset, so the radius stays below that and the box is covered.
    """
    width, height = area[2] - area[0], area[3] - area[1]
    radius = min(_CORNER * min(outer[2] - outer[0], outer[3] - outer[1]), inset / (1 - math.sqrt(0.5)))
    mask = Image.new("L", (width, height))
    left, top = outer[0] - area[0], outer[1] - area[1]
    right, bottom = outer[2] - area[0] - 1, outer[3] - area[1] - 1
    ImageDraw.Draw(mask).rounded_rectangle((left, top, right, bottom), radius, fill=255)
    if inset > 3:  # smooth the corners' stairs; the face's own box is out of this filter's reach
        mask = mask.filter(ImageFilter.GaussianBlur(0.7))
    return mask
