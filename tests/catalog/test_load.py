"""What is found out about a classifier, from every source there is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_models import TinyModel, metadata_block, with_files

from aicli.catalog import load_classifier, load_faces
from aicli.catalog.entries import all_entries
from aicli.cli.console import told
from aicli.errors import LabelsError, ModelError, UsageError
from aicli.nn.engines import Engine

LABELS = [f"class {index}" for index in range(12)]


def write(folder: Path, content: bytes, name: str = "model.tflite") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_float_model_without_metadata_says_what_it_assumes(tmp_path: Path, engine: Engine) -> None:
    model = load_classifier(write(tmp_path, TinyModel().flat().finish()), LABELS, engine=engine)
    assert (model.input.width, model.input.height, model.input.dtype) == (2, 2, "float32")
    assert model.input.mean == model.input.std == (127.5, 127.5, 127.5)
    assert model.output.classes == 12
    assert model.labels == tuple(LABELS)
    assert ["-1 to 1" in note for note in model.notes] == [True]


@pytest.mark.parametrize(
    ("factor", "dtype", "mean"), [(1 / 255, "float32", 0.0), (1 / 127.5, "float16", 0.0), (0.5, "float32", 127.5)]
)
def test_model_that_scales_pixels_itself(
    tmp_path: Path, engine: Engine, factor: float, dtype: str, mean: float
) -> None:
    path = write(tmp_path, TinyModel().scale(factor, dtype).flat().finish())
    model = load_classifier(path, LABELS, engine=engine)
    assert model.input.mean[0] == mean
    assert len(model.notes) == 1


@pytest.mark.parametrize(
    ("given", "mean", "std"),
    [("0,1", 0.0, 255.0), ("-1,1", 127.5, 127.5), ("0,255", 0.0, 1.0), ("-2, 2", 127.5, 63.75)],
)
def test_input_range(tmp_path: Path, engine: Engine, given: str, mean: float, std: float) -> None:
    path = write(tmp_path, TinyModel().flat().finish())
    model = load_classifier(path, LABELS, engine=engine, input_range=given, resize="pad", channels="bgr")
    assert (model.input.mean, model.input.std) == ((mean,) * 3, (std,) * 3)
    assert (model.input.crop, model.input.channels) == ("pad", "bgr")
    assert model.notes == ()


@pytest.mark.parametrize("given", ["", "1", "1,0", "a,b", "0,1,2", "nan,1", "0,inf"])
def test_wrong_input_range(tmp_path: Path, engine: Engine, given: str) -> None:
    with pytest.raises(UsageError, match="input range"):
        load_classifier(write(tmp_path, TinyModel().flat().finish()), LABELS, engine=engine, input_range=given)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "first", "last"),
    [
        ("uint8", 1 / 128, 128, 0, 255),
        ("uint8", 0.02, 114, 0, 255),
        ("int8", 1 / 255, -128, -128, 127),
        ("int8", 0.02, -14, -128, 127),
    ],
)
def test_quantised_input_gets_the_pixels(
    tmp_path: Path, engine: Engine, dtype: str, scale: float, zero_point: int, first: int, last: int
) -> None:
    content = TinyModel(dtype, quantization=(scale, zero_point)).flat().finish()
    spec = load_classifier(write(tmp_path, content), LABELS, engine=engine).input
    quantised = [round((pixel - spec.mean[0]) / spec.std[0] / spec.scale) + spec.zero_point for pixel in (0, 255)]
    assert quantised == [first, last]


def test_bytes_without_quantisation(tmp_path: Path, engine: Engine) -> None:
    model = load_classifier(write(tmp_path, TinyModel("uint8").flat().finish()), LABELS, engine=engine)
    assert (model.input.scale, model.input.zero_point, model.input.mean[0], model.input.std[0]) == (1, 0, 0, 1)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_metadata_normalisation_and_labels(tmp_path: Path, engine: Engine, dtype: str) -> None:
    block = metadata_block([127.0], [128.0], [("ids.txt", ""), ("names-en.txt", "en")])
    files = {
        "ids.txt": "".join(f"/m/{n}\n" for n in range(12)),
        "names-en.txt": "".join(f"{name}\n" for name in LABELS),
    }
    path = write(tmp_path, with_files(TinyModel(dtype).flat().describe(block).finish(), files))
    model = load_classifier(path, engine=engine)
    assert (model.input.mean, model.input.std) == ((127.0,) * 3, (128.0,) * 3)
    assert model.labels == tuple(LABELS)
    assert model.notes == ()


def test_metadata_of_the_float_model_do_not_spoil_bytes(tmp_path: Path, engine: Engine) -> None:
    block = metadata_block([0.0], [1.0], [])
    content = TinyModel("uint8", quantization=(1 / 128, 128)).flat().describe(block).finish()
    model = load_classifier(write(tmp_path, content), LABELS, engine=engine)
    assert (model.input.mean[0], model.input.std[0]) == (128, 128)


def test_damaged_metadata_are_left_out_and_named(tmp_path: Path, engine: Engine) -> None:
    path = write(tmp_path, TinyModel().flat().describe(b"rubbish that is no block").finish())
    model = load_classifier(path, LABELS, engine=engine)
    assert any("metadata" in note for note in model.notes)


@pytest.mark.parametrize(
    ("last", "kind"), [("SOFTMAX", "probabilities"), ("FULLY_CONNECTED", "logits"), ("RESHAPE", "unknown")]
)
def test_kind_of_output(tmp_path: Path, engine: Engine, last: str, kind: str) -> None:
    path = write(tmp_path, TinyModel().flat(last=last).finish())
    model = load_classifier(path, LABELS, engine=engine, input_range="0,1")
    assert model.output.kind == kind
    assert ["softmax" in note for note in model.notes] == ([True] if kind == "logits" else [])


def test_open_batch_and_open_size(tmp_path: Path, engine: Engine) -> None:
    path = write(tmp_path, TinyModel(signature=(-1, 2, 2, 3)).flat(signature=(-1, 12)).finish())
    assert load_classifier(path, LABELS, engine=engine).input.width == 2
    path = write(tmp_path, TinyModel(shape=(1, 1, 1, 3), signature=(1, -1, -1, 3)).flat(signature=(-1, 3)).finish())
    model = load_classifier(path, LABELS[:3], engine=engine)
    assert (model.input.width, model.input.height) == (224, 224)
    assert any("size of its input open" in note for note in model.notes)
    model = load_classifier(path, LABELS[:3], engine=engine, input_size="320x240")
    assert (model.input.shape, any("open" in note for note in model.notes)) == ((1, 240, 320, 3), False)
    with pytest.raises(UsageError, match="320x240, not '7x'"):
        load_classifier(path, LABELS[:3], engine=engine, input_size="7x")
    path = write(tmp_path, TinyModel().flat().finish())
    assert load_classifier(path, LABELS, engine=engine, input_size="2").input.width == 2
    with pytest.raises(UsageError, match="width is 2 pixels and cannot be 3"):
        load_classifier(path, LABELS, engine=engine, input_size="3x2")


def test_several_outputs(tmp_path: Path, engine: Engine) -> None:
    model = TinyModel().flat().flat(last="SOFTMAX")
    path = write(tmp_path, model.finish())
    with pytest.raises(UsageError, match="choose one with output_tensor"):
        load_classifier(path, LABELS, engine=engine)
    assert load_classifier(path, LABELS, engine=engine, output_tensor=1).output.kind == "probabilities"
    with pytest.raises(UsageError, match="no output tensor 2"):
        load_classifier(path, LABELS, engine=engine, output_tensor=2)


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((1, 12), "float32", "not 1 x height"),
        ((1, 2, 2, 4), "float32", "1x2x2x4"),
        ((1, 2, 2, 2, 3), "float32", "not 1 x height"),
        ((2000, 2, 2, 3), "float32", "2000x2x2x3"),
        ((1, 2, 2, 3), "int32", "int32"),
    ],
)
def test_no_image_classifier(tmp_path: Path, engine: Engine, shape: tuple[int, ...], dtype: str, words: str) -> None:
    path = write(tmp_path, TinyModel(dtype, shape).flat().finish())
    with pytest.raises(ModelError, match=f"not an image classifier: .*{words}"):
        load_classifier(path, LABELS, engine=engine)


def test_classes_without_names_go_by_their_numbers(tmp_path: Path, engine: Engine) -> None:
    path = write(tmp_path, TinyModel().flat().finish())
    model = load_classifier(path, engine=engine)
    assert (model.labels[11], model.names) == ("class 11", False)
    assert any("give the label file with --labels" in told(note) for note in model.notes)
    (tmp_path / "my_labels.txt").write_text("\n".join(LABELS))
    assert any("my_labels.txt?" in note for note in load_classifier(path, engine=engine).notes)
    with pytest.raises(LabelsError, match=r"12 classes.* 2 labels"):
        load_classifier(path, ["a", "b"], engine=engine)


def test_model_dropped_into_the_users_folder(tmp_path: Path, engine: Engine) -> None:
    folder = tmp_path / "user-models"
    folder.mkdir()
    write(folder, TinyModel().flat().finish(), "mine.tflite")
    (folder / "mine.txt").write_text("\n".join(LABELS))
    assert load_classifier("mine", engine=engine).labels == tuple(LABELS)


def test_unknown_names_and_files(tmp_path: Path, engine: Engine) -> None:
    with pytest.raises(ModelError, match="mobilenet_v2"):
        load_classifier("mobilenet_v22", engine=engine)
    for name in ("x" * 5000, "a\0b", ""):
        with pytest.raises(ModelError):
            load_classifier(name, engine=engine)
        with pytest.raises(ModelError):
            load_classifier(f"{name}.tflite", engine=engine)
    with pytest.raises(ModelError, match="no such model file"):
        load_classifier(tmp_path / "none.tflite", engine=engine)
    with pytest.raises(ModelError, match="folder"):
        load_classifier(tmp_path, engine=engine)
    with pytest.raises(ModelError, match="another task"):
        load_classifier("mtcnn", engine=engine)
    with pytest.raises(ModelError, match="task classify"):
        load_faces("efficientnet_lite0")


def test_known_but_absent_model_names_the_command(engine: Engine) -> None:
    with pytest.raises(ModelError, match=r"3\.6 MB, Apache-2\.0.*aicli models pull mobilenet_v2"):
        load_classifier("mobilenet_v2", engine=engine)


def test_bundled_models_load(engine: Engine) -> None:
    for entry in all_entries():
        if entry.state == "bundled" and entry.task == "classify":
            model = load_classifier(entry.name, engine=engine)
            assert len(model.labels) == model.output.classes
            assert model.notes == ()
    assert load_faces().mean == 127.5


def test_changed_bundled_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    from aicli.catalog import folders

    models = tmp_path / "models"
    models.mkdir()
    write(models, TinyModel().flat().finish(), "tiny.tflite")
    ref = {"file": "tiny.tflite", "sha256": "0" * 64, "bytes": 1}
    entry = {"name": "tiny", "task": "classify", "files": {"model": ref}, "license": "MIT"}
    (models / "catalog.json").write_text(json.dumps({"version": 1, "models": [entry]}))
    monkeypatch.setattr(folders, "_bundled", lambda kind: models)
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_classifier("tiny", LABELS, engine=engine)


@pytest.mark.parametrize(
    ("file", "labels", "classes"),
    [
        ("mobilenet_v2_1.0_224_quant.tflite", "imagenet_labels.txt", 1001),
        ("mobilenet_v2_1.0_224_inat_bird_quant.tflite", "inat_bird_labels.txt", 965),
        ("tf2_mobilenet_v2_1.0_224_ptq.tflite", None, 1001),
    ],
)
def test_real_mobilenets(shared: Path, engine: Engine, file: str, labels: str | None, classes: int) -> None:
    path = shared / "labels" / labels if labels else None
    model = load_classifier(shared / "models" / file, path, engine=engine)
    assert len(model.labels) == model.output.classes == classes
    assert model.output.kind == "probabilities"
    assert model.notes == ()


@pytest.mark.parametrize(("net", "packaged_guest"), [("onet", False), ("onet_pixels", False), ("onet_pixels", True)])
def test_a_network_that_is_damaged_finds_no_faces(
    net: str, packaged_guest: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aicli.catalog import folders

    models = tmp_path / "models"
    models.mkdir()
    for path in (folders.catalog_file(), *folders.bundled_models().glob("?net*.tflite")):
        (models / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(folders, "_bundled", lambda kind: models)
    assert load_faces(packaged_guest=packaged_guest).pixels
    data = bytearray((models / f"{net}.tflite").read_bytes())
    data[-1] ^= 1
    (models / f"{net}.tflite").write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_faces(packaged_guest=packaged_guest)
