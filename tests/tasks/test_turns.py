"""Photos that nobody turned upright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aicli import FaceDetector
from aicli.image.decode import open_image
from aicli.results import Box, Face, Landmarks, Point
from aicli.tasks.turns import find_turned, shared, turned_back


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(turns=True)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_turned_face_is_found_where_it_is(detector: FaceDetector, examples: Path, turn: int) -> None:
    upright = open_image(examples / "grace_hopper.jpg").pixels
    (expected,) = FaceDetector()(upright).faces
    turned = np.ascontiguousarray(np.rot90(upright, turn // 90))  # counterclockwise
    (face,) = detector(turned).faces
    assert face.turn == turn and face.score > 0.99
    assert face.to_dict()["turn"] == turn and "turn" not in expected.to_dict()
    height, width = turned.shape[:2]
    back = turned_back(Face(expected.box, expected.score, expected.landmarks), turn, width, height)
    assert np.abs(np.subtract(face.box, back.box)).max() < 0.01
    assert np.abs(np.subtract(face.landmarks, back.landmarks)).max() < 0.01
    for point in face.landmarks:
        assert face.box.x1 < point.x < face.box.x2 and face.box.y1 < point.y < face.box.y2


def test_one_face_of_several_turns_is_the_best_of_them() -> None:
    def found(box: Box, score: float) -> Face:
        return Face(box, score, Landmarks(*[Point(box.x1, box.y1)] * 5))

    answers = iter([[found(Box(10, 10, 30, 30), 0.8)], [found(Box(60, 10, 80, 30), 0.9)], [], []])
    pixels = np.zeros((90, 100, 3), np.uint8)
    faces = find_turned(lambda _: next(answers), pixels)
    assert [(face.turn, face.score, face.box) for face in faces] == [(90, 0.9, Box(10, 10, 30, 30))]
    assert shared(Box(0, 0, 10, 10), Box(5, 0, 15, 10)) == 0.5
    assert shared(Box(0, 0, 10, 10), Box(10, 0, 15, 10)) == 0
