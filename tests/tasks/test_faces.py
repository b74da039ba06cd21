"""Face detection on real photos, held against the boxes of the original MTCNN graph."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aicli import Box, FaceDetector
from aicli.errors import GuestError, UsageError
from aicli.guest.client import Guest, packaged_guest
from aicli.nn.context import ExecutionContext


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a.x2, b.x2) - max(a.x1, b.x1)
    height = min(a.y2, b.y2) - max(a.y1, b.y1)
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - both)


def expected_faces(shared: Path, name: str) -> list[Box]:
    data = json.loads((shared / "expected" / f"{name}.mtcnn_pb.json").read_text())
    faces = data["faces"] if isinstance(data, dict) else data
    return [Box(*face["box"]) if isinstance(face, dict) else Box(*face[:4]) for face in faces]


def test_the_solvay_conference(shared: Path, runtime: str, engine: str) -> None:
    people = expected_faces(shared, "solvay")
    assert len(people) == 29
    found = FaceDetector(runtime=runtime, engine=engine)(shared / "images" / "solvay.jpg").faces
    best = [max(iou(person, face.box) for face in found) for person in people]
    assert min(best) >= 0.6
    assert len(found) <= 30


def test_both_runtimes_find_the_same(examples: Path, runtime: str) -> None:
    here = FaceDetector(runtime=runtime)(examples / "astronaut.png").faces
    usual = FaceDetector()(examples / "astronaut.png").faces
    assert len(here) == len(usual) == 1
    np.testing.assert_allclose(here[0].box, usual[0].box, atol=0.01)


def test_a_guest_that_knows_nothing_of_bytes_gets_networks_for_real_numbers(
    examples: Path, runtime: str, engine: str, tmp_path: Path
) -> None:
    former = tmp_path / "former.wasm"
    code = packaged_guest().read_bytes()
    assert code.count(b"aicli_features") >= 1
    former.write_bytes(code.replace(b"aicli_features", b"aicli_unknowns"))
    usual = FaceDetector(runtime=runtime, engine=engine)
    other = FaceDetector(guest=former, trust_guest=True, runtime=runtime, engine=engine)
    photo = examples / "astronaut.png"
    assert usual(photo) == other(photo)
    assert [input_types(detector) for detector in (usual, other)] == [{"uint8"}, {"float32"}]


def input_types(detector: FaceDetector) -> set[str]:
    """The types that its networks take."""
    guest = detector.guest
    assert isinstance(guest, Guest) and guest._running
    contexts = guest._running.host.session._contexts.values()
    return {
        tensor.dtype
        for context in contexts
        if isinstance(context, ExecutionContext)
        for tensor in context.graph.tensors.inputs
    }


def test_a_packaged_guest_of_before_is_refused(
    examples: Path, runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its networks only those for pixels were compared with their checksums."""
    former = tmp_path / "former.wasm"
    former.write_bytes(packaged_guest().read_bytes().replace(b"aicli_features", b"aicli_unknowns"))
    monkeypatch.setattr("aicli.guest.client.packaged_guest", lambda: former)
    with pytest.raises(GuestError, match=r"older than this aicli.*run: aicli build-guest"):
        FaceDetector(runtime=runtime)(examples / "astronaut.png")


def test_landmarks_lie_where_a_face_has_them(examples: Path) -> None:
    (face,) = FaceDetector()(examples / "astronaut.png").faces
    box, points = face.box, face.landmarks
    assert all(box.x1 < point.x < box.x2 and box.y1 < point.y < box.y2 for point in points)
    assert points.left_eye.x < points.nose.x < points.right_eye.x
    assert max(points.left_eye.y, points.right_eye.y) < points.nose.y < min(points.mouth_left.y, points.mouth_right.y)
    assert 0.9 < face.score <= 1


def test_a_face_far_left_in_a_wide_picture_is_cropped_with_padding(examples: Path) -> None:
    image = Image.open(examples / "astronaut.png").convert("RGB")
    (face,) = FaceDetector()(image).faces
    # Cut through the face's left quarter: the cascade must look beyond the border to find it.
    left = int(face.box.x1 + (face.box.x2 - face.box.x1) * 0.15)
    cut = image.crop((left, 0, image.width, image.height))
    (again,) = FaceDetector()(cut).faces
    moved = Box(again.box.x1 + left, again.box.y1, again.box.x2 + left, again.box.y2)
    assert iou(face.box, moved) > 0.5


@pytest.mark.parametrize("size", [(1, 1), (11, 11), (4000, 3), (3, 4000), (12, 12), (640, 480)])
def test_pictures_without_a_face_have_none(runtime: str, size: tuple[int, int]) -> None:
    pixels = np.full((size[1], size[0], 3), 127, np.uint8)
    assert FaceDetector(runtime=runtime)(pixels).faces == ()


def test_one_detector_answers_pictures_of_many_sizes(examples: Path, runtime: str) -> None:
    image = Image.open(examples / "astronaut.png").convert("RGB")
    detector = FaceDetector(runtime=runtime)
    for width in (512, 300, 411, 256, 777, 512):
        height = round(image.height * width / image.width)
        (face,) = detector(image.resize((width, height))).faces
        assert 0.15 < (face.box.x2 - face.box.x1) / width < 0.4


def test_an_answer_does_not_depend_on_the_pictures_before(examples: Path, runtime: str) -> None:
    # Contexts are kept for other sizes than they were made for: what lies beyond a tile must not be seen.
    photo = Image.open(examples / "astronaut.png").convert("RGB")
    sizes = [(301, 287), (297, 283), (299, 281), (201, 333)]
    pictures = [photo.resize(size) for size in sizes]
    warm = FaceDetector(runtime=runtime)
    for picture in (*pictures, *reversed(pictures)):
        alone = FaceDetector(runtime=runtime)(picture)
        assert alone.faces and warm(picture) == alone


def test_both_calls_take_a_photo_and_a_decoded_one(examples: Path) -> None:
    detector, photo = FaceDetector(), examples / "astronaut.png"
    decoded = detector.open(photo)
    assert detector(photo) == detector.detect(photo) == detector(decoded) == detector.detect(decoded)
    with pytest.raises(TypeError, match="an image is a path, bytes,"):
        detector.detect(7)  # type: ignore[arg-type]


def test_min_size_and_max_faces(shared: Path) -> None:
    photo = shared / "images" / "solvay.jpg"
    every = FaceDetector()(photo).faces
    best = FaceDetector(max_faces=5)(photo).faces
    assert [face.score for face in best] == [face.score for face in every[:5]]
    large = FaceDetector(min_size=60)(photo).faces
    assert len(large) < len(every)


def test_wrong_parameters_are_refused() -> None:
    for keywords in ({"min_size": 0}, {"thresholds": (0.6, 0.7)}, {"factor": 1.0}, {"max_faces": -1}):
        with pytest.raises(UsageError, match=next(iter(keywords))):
            FaceDetector(**keywords)  # type: ignore[arg-type]
