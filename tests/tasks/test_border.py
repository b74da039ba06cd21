"""Faces that the border of the photo cuts through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aicli import FaceDetector
from aicli.image.decode import open_image
from aicli.results import Box, Face, Landmarks, Point
from aicli.tasks import border
from aicli.tasks.border import find_cut
from aicli.tasks.turns import shared as overlap


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(border=True)


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_a_face_of_which_two_fifths_are_gone(detector: FaceDetector, examples: Path, side: str) -> None:
    pixels = open_image(examples / "astronaut.png").pixels
    (face,) = FaceDetector()(pixels).faces
    x1, y1, x2, y2 = (round(value) for value in face.box)
    x, y = (x2 - x1) * 2 // 5, (y2 - y1) * 2 // 5
    left, top = (x1 + x if side == "left" else 0), (y1 + y if side == "top" else 0)
    right = x2 - x if side == "right" else pixels.shape[1]
    bottom = y2 - y if side == "bottom" else pixels.shape[0]
    (found,) = detector(np.ascontiguousarray(pixels[top:bottom, left:right])).faces
    moved = Box(found.box.x1 + left, found.box.y1 + top, found.box.x2 + left, found.box.y2 + top)
    assert overlap(moved, face.box) > 0.6
    clipped = detector(np.ascontiguousarray(pixels[top:bottom, left:right]), clip=True).faces[0].box
    assert clipped.x1 >= 0 and clipped.y1 >= 0 and clipped.x2 <= right - left and clipped.y2 <= bottom - top


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cat_720p", "grace_hopper", "hot_dog", "parrot", "solvay"])
def test_no_face_is_lost_or_added(detector: FaceDetector, shared: Path, name: str) -> None:
    photo = shared / "images" / f"{name}.jpg"
    assert detector(photo).faces == FaceDetector()(photo).faces


def face_at(x1: float, y1: float, x2: float, y2: float, score: float) -> Face:
    return Face(Box(x1, y1, x2, y2), score, Landmarks(*[Point((x1 + x2) / 2, (y1 + y2) / 2)] * 5))


def test_what_counts_of_the_photo_with_its_margin() -> None:
    pixels = np.zeros((80, 100, 3), np.uint8)
    seen = []

    def find(given: np.ndarray, smaller: int) -> list[Face]:
        seen.append((given.shape, smaller))
        if len(seen) == 1:
            return [face_at(40, 40, 60, 60, 0.8), face_at(-4, 0, 16, 20, 0.85)]
        return [
            face_at(60, 60, 80, 80, 0.99),  # inside, found without the margin
            face_at(75, 25, 95, 45, 0.98),  # inside, not found without: scores of faces inside are not changed
            face_at(17, 21, 37, 41, 0.97),  # cut, but found without
            face_at(105, 90, 125, 110, 0.96),  # cut by two sides
            face_at(0, 0, 15, 15, 0.95),  # in the margin alone
        ]

    faces = find_cut(find, pixels)
    assert seen == [((80, 100, 3), 1), ((120, 140, 3), 1)]
    assert [face.score for face in faces] == [0.96, 0.85, 0.8]
    assert faces[0].box == Box(85, 70, 105, 90) and faces[0].landmarks.nose == Point(95, 80)


def test_a_large_photo_is_looked_at_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(border, "MOST_PIXELS", 4000)
    pixels = np.zeros((80, 100, 3), np.uint8)
    answers = iter([[], [face_at(0, 15, 10, 25, 0.9)]])
    seen = []

    def find(given: np.ndarray, smaller: int) -> list[Face]:
        seen.append((given.shape, smaller))
        return next(answers)

    assert find_cut(find, pixels)[0].box == Box(-20, 25, 10, 55)
    assert seen == [((80, 100, 3), 1), ((40, 47, 3), 3)]


def test_turned_and_cut(examples: Path) -> None:
    upright = open_image(examples / "grace_hopper.jpg").pixels
    cut = np.ascontiguousarray(np.rot90(upright[:212], 1))
    assert FaceDetector(turns=True)(cut).faces == ()
    (face,) = FaceDetector(turns=True, border=True)(cut).faces
    assert face.turn == 90 and face.box.x2 > cut.shape[1] - 5
