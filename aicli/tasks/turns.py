"""Faces of a photo that nobody turned upright: all four turns are looked at, and the answers merged."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from aicli.results import Box, Face, Landmarks, Point

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SAME", "find_turned", "shared"]

SAME = 0.5
"""Two boxes of different turns are one face when they share this part of the smaller one."""


def find_turned(
    find: Callable[[NDArray[np.uint8]], list[Face]], pixels: NDArray[np.uint8], max_faces: int = 0
) -> list[Face]:
    """What ``find`` answers for the photo and its three turns, in places of the photo as it is, best score first.

    Of faces that are found in several turns the one with the best score stays. ``max_faces`` of 0 is all.
    """
    height, width = pixels.shape[:2]
    found: list[Face] = []
    for turn in (0, 90, 180, 270):
        turned = np.ascontiguousarray(np.rot90(pixels, -turn // 90)) if turn else pixels
        found += [turned_back(face, turn, width, height) for face in find(turned)]
    kept: list[Face] = []
    for face in sorted(found, key=lambda face: -face.score):
        if all(face.turn == other.turn or shared(face.box, other.box) < SAME for other in kept):
            kept.append(face)
    return kept[: max_faces or None]


def turned_back(face: Face, turn: int, width: int, height: int) -> Face:
    """A face of a photo of ``width`` x ``height`` that was turned clockwise, in places of the photo as it was."""

    def back(point: Point) -> Point:
        x, y = point
        if turn == 90:
            return Point(y, height - x)
        if turn == 180:
            return Point(width - x, height - y)
        return Point(width - y, x) if turn == 270 else Point(x, y)

    x1, y1, x2, y2 = face.box
    first, second = back(Point(x1, y1)), back(Point(x2, y2))
    box = Box(min(first.x, second.x), min(first.y, second.y), max(first.x, second.x), max(first.y, second.y))
    return Face(box, face.score, Landmarks(*map(back, face.landmarks)), turn)


def shared(one: Box, other: Box) -> float:
    """The common area of two boxes as a part of the smaller one."""
    width = min(one.x2, other.x2) - max(one.x1, other.x1)
    height = min(one.y2, other.y2) - max(one.y1, other.y1)
    if width <= 0 or height <= 0:
        return 0.0
    smaller = min((box.x2 - box.x1) * (box.y2 - box.y1) for box in (one, other))
    return width * height / smaller if smaller > 0 else 0.0
