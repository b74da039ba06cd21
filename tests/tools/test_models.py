"""The catalog matches the files, and the bundled nets have the shapes and the sense that their documents promise."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy_nets
import pytest
from PIL import Image, ImageOps

PROJECT = Path(__file__).resolve().parent.parent.parent
MODELS = PROJECT / "models"
CATALOG: list[dict[str, Any]] = json.loads((MODELS / "catalog.json").read_bytes())["models"]
BUNDLED = {entry["name"]: entry for entry in CATALOG if not any("url" in ref for ref in entry["files"].values())}


def labels_of(name: str) -> list[str]:
    file = BUNDLED[name]["files"]["labels"]["file"]
    path = PROJECT / "labels" / str(file)
    return path.read_text(encoding="utf-8").splitlines()


def normalised(name: str, image: Image.Image) -> numpy_nets.Array:
    spec = BUNDLED[name]["input"]
    pixels = np.asarray(image.convert(spec["channels"].upper()), np.float32)
    return np.asarray((pixels - np.float32(spec["mean"])) / np.float32(spec["std"]), np.float32)


def test_names_and_aliases_are_unique_and_each_task_has_one_default() -> None:
    names = [name for entry in CATALOG for name in (entry["name"], *entry.get("aliases", ()))]
    assert len(names) == len(set(names))
    assert [entry["name"] for entry in CATALOG if entry["default"]] == ["efficientnet_lite0", "mtcnn"]


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_files_have_their_size_and_checksum(name: str) -> None:
    for role, ref in BUNDLED[name]["files"].items():
        data = (PROJECT / ("labels" if role == "labels" else "models") / ref["file"]).read_bytes()
        assert len(data) == ref["bytes"], ref["file"]
        assert hashlib.sha256(data).hexdigest() == ref["sha256"], ref["file"]


def test_every_bundled_model_is_in_the_catalog() -> None:
    listed = {ref["file"] for entry in BUNDLED.values() for ref in entry["files"].values()}
    present = {path.name for path in (*MODELS.glob("*.tflite"), *(PROJECT / "labels").glob("*.txt"))}
    assert listed == present


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry["name"])
def test_every_model_has_licence_and_origin(entry: dict[str, Any]) -> None:
    assert entry["license"] and entry["origin"] and entry["source"]
    assert (MODELS / entry["license_file"]).is_file()


@pytest.mark.parametrize("entry", [entry for entry in CATALOG if entry["name"] not in BUNDLED], ids=lambda e: e["name"])
def test_downloads_come_from_a_fixed_commit(entry: dict[str, Any]) -> None:
    for ref in entry["files"].values():
        owner, repository, commit, file = ref["url"].removeprefix("https://raw.githubusercontent.com/").split("/")
        assert (owner, repository, file) == ("google-coral", "test_data", ref["file"])
        assert len(commit) == 40
        assert ("sha256" in ref) == ("bytes" in ref) == (entry["name"] != "inat_plant")


def test_eight_bit_models_get_the_pixels_themselves(shared: Path) -> None:
    """(pixel - mean) / std, quantised as the file says, is the pixel again for all 256 values."""
    pixels = np.arange(256)
    files = {path.name: path for path in (shared / "models").glob("*.tflite")}
    checked = 0
    for entry in CATALOG:
        path = files.get(entry["files"].get("model", {}).get("file"))
        if path:
            info = numpy_nets.interpreter_class()(str(path)).get_input_details()[0]
            scale, zero_point = info["quantization"]
            real = (pixels - entry["input"]["mean"][0]) / entry["input"]["std"][0]
            assert np.array_equal(np.round(real / scale) + zero_point, pixels), entry["name"]
            assert list(info["shape"]) == [1, entry["input"]["height"], entry["input"]["width"], 3]
            checked += 1
    assert checked == 4


@pytest.mark.parametrize("name", ["efficientnet_lite0", "dog_breeds"])
def test_classifier_gives_a_probability_per_label(name: str) -> None:
    side = BUNDLED[name]["input"]["width"]
    outputs = numpy_nets.run_tflite(MODELS / f"{name}.tflite", np.zeros((1, side, side, 3), np.float32))
    assert [output.shape for output in outputs] == [(1, len(labels_of(name)))]
    assert outputs[0].sum() == pytest.approx(1, abs=1e-4)
    assert outputs[0].min() >= 0


@pytest.mark.parametrize(
    ("net", "batch", "shapes"),
    [
        ("pnet", (1, 12, 12, 3), [(1, 1, 1, 4), (1, 1, 1, 2)]),
        ("pnet", (1, 31, 46, 3), [(1, 11, 18, 4), (1, 11, 18, 2)]),
        ("rnet", (7, 24, 24, 3), [(7, 4), (7, 2)]),
        ("onet", (3, 48, 48, 3), [(3, 4), (3, 10), (3, 2)]),
    ],
)
def test_mtcnn_nets_take_any_size(net: str, batch: tuple[int, ...], shapes: list[tuple[int, ...]]) -> None:
    outputs = numpy_nets.run_tflite(MODELS / f"{net}.tflite", np.zeros(batch, np.float32))
    assert [output.shape for output in outputs] == shapes
    np.testing.assert_allclose(outputs[-1].sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("net", "stored", "signature"),
    [
        ("pnet", [1, 12, 12, 3], [1, -1, -1, 3]),
        ("rnet", [1, 24, 24, 3], [-1, 24, 24, 3]),
        ("onet", [1, 48, 48, 3], None),
    ],
)
def test_mtcnn_nets_say_which_dimensions_are_dynamic(net: str, stored: list[int], signature: list[int] | None) -> None:
    interpreter = numpy_nets.interpreter_class()(str(MODELS / f"{net}.tflite"))
    info = interpreter.get_input_details()[0]
    assert list(info["shape"]) == stored
    assert list(info["shape_signature"]) == (signature or [-1, *stored[1:]])
    interpreter.allocate_tensors()  # without a resize
    assert all(-1 in output["shape_signature"] for output in interpreter.get_output_details())


@pytest.mark.parametrize(
    ("file", "label"),
    [
        ("grace_hopper.jpg", "military uniform"),
        ("parrot.jpg", "macaw"),
        ("cat_720p.jpg", "Egyptian cat"),
        ("hot_dog.jpg", "hotdog"),
    ],
)
def test_efficientnet_knows_what_is_in_the_photo(file: str, label: str, shared: Path) -> None:
    spec = BUNDLED["efficientnet_lite0"]["input"]
    assert (spec["crop"], spec["filter"]) == ("crop", "bicubic")
    with Image.open(shared / "images" / file) as photo:
        square = ImageOps.fit(photo.convert("RGB"), (spec["width"], spec["height"]), Image.Resampling.BICUBIC)
    batch = normalised("efficientnet_lite0", square)[None]
    outputs = numpy_nets.run_tflite(MODELS / "efficientnet_lite0.tflite", batch)
    assert labels_of("efficientnet_lite0")[outputs[0].argmax()].startswith(label)


def test_mtcnn_nets_find_the_faces_that_the_original_finds(shared: Path) -> None:
    """R-Net and O-Net on the 29 faces of a group photo: all are faces, and the landmarks are the original's."""
    faces = json.loads((shared / "expected" / "solvay.mtcnn_pb.json").read_text())
    with Image.open(shared / "images" / "solvay.jpg") as opened:
        photo = opened.convert("RGB")
    squares = [square_around(face["box"]) for face in faces]
    small = np.stack([normalised("mtcnn", photo.resize((24, 24), box=square)) for square in squares])
    large = np.stack([normalised("mtcnn", photo.resize((48, 48), box=square)) for square in squares])
    _, scores = numpy_nets.run_tflite(MODELS / "rnet.tflite", small)
    assert (scores[:, 1] > 0.7).all()
    _, landmarks, scores = numpy_nets.run_tflite(MODELS / "onet.tflite", large)
    assert (scores[:, 1] > 0.7).all()
    for face, (left, top, right, _), points in zip(faces, squares, landmarks.reshape(-1, 2, 5), strict=True):
        side = right - left
        found = points.T * side + (left, top)
        assert np.abs(found - face["landmarks"]).max() < 0.1 * side


@pytest.mark.parametrize(("net", "shape"), [("pnet", (1, 128, 224)), ("rnet", (16, 24, 24)), ("onet", (5, 48, 48))])
def test_nets_that_take_pixels_answer_the_same_to_the_last_bit(net: str, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (*shape, 3), np.uint8)
    pixels.reshape(-1)[:256] = np.arange(256)
    real = (pixels.astype(np.float32) - np.float32(127.5)) * np.float32(1 / 128)
    given = numpy_nets.run_tflite(MODELS / f"{net}.tflite", real)
    found = numpy_nets.run_tflite(MODELS / f"{net}_pixels.tflite", pixels)
    for mine, theirs in zip(found, given, strict=True):
        assert mine.dtype == np.float32 and mine.tobytes() == theirs.tobytes()


def test_pnet_fires_where_the_face_is(shared: Path) -> None:
    face = json.loads((shared / "expected" / "grace_hopper.mtcnn_pb.json").read_text())[0]
    left, top, right, bottom = square_around(face["box"])
    scale = 12 / (right - left)  # the face becomes one cell of P-Net
    with Image.open(shared / "images" / "grace_hopper.jpg") as photo:
        image = photo.convert("RGB").resize((round(photo.width * scale), round(photo.height * scale)))
    _, probs = numpy_nets.run_tflite(MODELS / "pnet.tflite", normalised("mtcnn", image)[None])
    row, column = np.unravel_index(probs[0, :, :, 1].argmax(), probs.shape[1:3])
    centre = (2 * column + 6) / scale, (2 * row + 6) / scale
    assert probs[..., 1].max() > 0.6
    assert left < centre[0] < right and top < centre[1] < bottom


def square_around(box: list[float]) -> tuple[float, float, float, float]:
    """The square with the box's centre and its longer side, as MTCNN feeds R-Net and O-Net."""
    x1, y1, x2, y2 = box
    half = max(x2 - x1, y2 - y1) / 2
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - half, y - half, x + half, y + half
