"""Faces that the photo's border cuts through: they are looked for in a photo with a grey margin around it.

The cascade was trained on whole faces: a window that holds one must reach beyond the photo, where there is nothing to
look at. A margin gives it room, and also changes the scores of faces inside by a little, so that one may be lost or
added there: of what is found with the margin, only boxes that reach beyond the border count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from aicli.results import Box, Face, Landmarks, Point
from aicli.tasks.turns import SAME, shared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

__all__ = ["find_cut"]

MARGIN = 0.25
"""Of the photo's shorter side: half a face that fills it, and so the part of it that may lie beyond."""
GREY = 127
MOST_PIXELS = 24_000_000
"""A larger photo, margin included, is made smaller: it costs time, and the guest has a limit."""


def find_cut(find: Callable[[Pixels, int], list[Face]], pixels: Pixels) -> list[Face]:
    """What ``find`` answers for the photo, and faces that its border cuts through, best score first.

    ``find`` is given pixels, and how many times smaller they are than the photo. Boxes and landmarks of what is cut
    lie beyond the photo in part.
    """
    height, width = pixels.shape[:2]
    whole = find(pixels, 1)
    margin = math.ceil(MARGIN * min(height, width))
    smaller = math.ceil(math.sqrt((height + 2 * margin) * (width + 2 * margin) / MOST_PIXELS))
    framed = reduced(np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), constant_values=GREY), smaller)
    found = (placed(face, smaller, margin) for face in find(framed, smaller))
    cut = [
        face
        for face in found
        if reaches_beyond(face.box, width, height) and all(shared(face.box, other.box) < SAME for other in whole)
    ]
    return sorted(whole + cut, key=lambda face: -face.score)


def reduced(pixels: Pixels, times: int) -> Pixels:
    """The photo, ``times`` times as small."""
    if times == 1:
        return pixels
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).reduce(times))


def placed(face: Face, smaller: int, margin: int) -> Face:
    """A face of the photo with its margin, in places of the photo itself."""

    def point(x: float, y: float) -> Point:
        return Point(x * smaller - margin, y * smaller - margin)

    box = Box(*point(face.box.x1, face.box.y1), *point(face.box.x2, face.box.y2))
    return face._replace(box=box, landmarks=Landmarks(*(point(*mark) for mark in face.landmarks)))


def reaches_beyond(box: Box, width: int, height: int) -> bool:
    """Whether a box lies partly, but not wholly, outside the photo."""
    outside = box.x1 < 0 or box.y1 < 0 or box.x2 > width or box.y2 > height
    return outside and box.x1 < width and box.y1 < height and box.x2 > 0 and box.y2 > 0
