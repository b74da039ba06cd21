"""Models that cannot be run, or are for something else, are refused by what they are; what a file says of itself."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tiny_models import TinyModel, metadata_block, with_files

from aicli.catalog import add_classifier, load_classifier
from aicli.errors import LabelsError, ModelError, UsageError
from aicli.nn.engines import load_engine

EXPORTED = Path(__file__).parents[1] / "data" / "classifiers"
ENGINE = load_engine("litert")


def custom(name: str) -> bytes:
    """A model whose only operator is a custom one."""
    model = TinyModel("uint8", quantization=(1.0, 0))
    result = model.tensor("scores", "uint8", (1, 4))
    model.operator("CUSTOM", [model.source], result)
    model.outputs.append(result)
    model.custom = name
    return model.finish()


@pytest.mark.parametrize(
    ("file", "operator", "words"),
    [
        ("birds_edgetpu.tflite", "edgetpu-custom-op", "compiled for the Edge TPU .* without _edgetpu"),
        ("ssd.tflite", "TFLite_Detection_PostProcess", "an object detector"),
        ("flex.tflite", "FlexErf", r"Flex: Erf\).*without SELECT_TF_OPS"),
        ("mine.tflite", "MyOp", r"operators that TFLite does not have \(MyOp\)"),
    ],
)
def test_custom_operators(tmp_path: Path, file: str, operator: str, words: str) -> None:
    path = tmp_path / file
    path.write_bytes(custom(operator))
    with pytest.raises(ModelError, match=words):
        load_classifier(path, engine=ENGINE)


def test_weights_that_are_not_in_the_file(shared: Path) -> None:
    path = shared / "cases" / "models" / "two_signatures.tflite"
    with pytest.raises(
        ModelError, match=r"the signature infer reads its weights from variables that nothing .* frozen"
    ):
        load_classifier(path, engine=ENGINE)


def test_the_file_beside_an_edge_tpu_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "birds_edgetpu.tflite"
    path.write_bytes(custom("edgetpu-custom-op"))
    (tmp_path / "birds.tflite").write_bytes(TinyModel().flat().finish())
    with pytest.raises(ModelError, match=f"_edgetpu: {tmp_path}/birds.tflite"):
        load_classifier(path, engine=ENGINE)


def test_what_the_converter_writes_for_flex() -> None:
    with pytest.raises(ModelError, match="Flex: MatrixDeterminant"):
        load_classifier(EXPORTED / "flex.tflite", engine=ENGINE)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([(1, 10, 4), (1, 10), (1, 10), (1,)], "an object detector"),
        ([(1, 84, 8400)], "an object detector"),
        ([(1, 96, 96, 21)], "a model whose answer is a picture"),
        ([(1, 7, 7, 64)], "an image encoder"),
    ],
)
def test_models_for_something_else(tmp_path: Path, shapes: list[tuple[int, ...]], words: str) -> None:
    model = TinyModel()
    for shape in shapes:
        result = model.tensor("out", "float32", shape)
        target = model.tensor("to", "int32", (len(shape),), data=np.array(shape, "<i4").tobytes())
        model.operator("RESHAPE", [model.source, target], result)
        model.outputs.append(result)
    path = tmp_path / "other.tflite"
    path.write_bytes(model.finish())
    with pytest.raises(ModelError, match=f"not an image classifier: .*{words}"):
        load_classifier(path, engine=ENGINE, input_range="0,1")


def test_an_ultralytics_detector_says_its_task(tmp_path: Path) -> None:
    content = (EXPORTED / "planes.tflite").read_bytes()
    path = tmp_path / "yolo.tflite"
    path.write_bytes(with_files(content, {"metadata.json": '{"task": "detect", "names": {"0": "dog"}}'}))
    with pytest.raises(ModelError, match=r"Ultralytics model for the task 'detect'.*-cls"):
        load_classifier(path, engine=ENGINE)


@pytest.mark.parametrize("name", ["ultralytics_json", "ultralytics_dictionary"])
def test_ultralytics_brings_names_and_fitting(name: str) -> None:
    model = load_classifier(EXPORTED / f"{name}.tflite", engine=ENGINE)
    assert model.labels == ("dog", "cat", "food", "bird")
    assert (model.input.crop, model.input.mean[0], model.input.std[0]) == ("crop", 0, 255)
    assert model.notes == ()


@pytest.mark.parametrize("text", ["{'task': __import__('os')}", "{" * 100_000, "[1]", "not python"])
def test_what_is_appended_is_read_as_data(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.tflite"
    path.write_bytes(with_files((EXPORTED / "planes.tflite").read_bytes(), {"temp_meta.txt": text}))
    assert load_classifier(path, engine=ENGINE).labels[0] == "class 0"


def described(tmp_path: Path, locales: list[tuple[str, str]], files: dict[str, str]) -> Path:
    path = tmp_path / "described.tflite"
    path.write_bytes(with_files(TinyModel().flat().describe(metadata_block([0.0], [255.0], locales)).finish(), files))
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["labels.txt", "metadata.json"])
def test_a_damaged_packed_file_costs_the_labels_only(tmp_path: Path, method: int, name: str) -> None:
    model = TinyModel().flat().describe(metadata_block([0.0], [255.0], [("labels.txt", "")])).finish()
    target = io.BytesIO(model)
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), "cat\ndog\n" * 50, method)
    data = bytearray(target.getvalue())
    begin = data.rindex(b"PK\x03\x04") + 30 + len(name)
    data[begin + 4 : begin + 12] = bytes(range(0xF0, 0xF8))
    path = tmp_path / "damaged.tflite"
    path.write_bytes(data)
    loaded = load_classifier(path, engine=ENGINE)
    assert loaded.labels[0] == "class 0"
    assert any("cannot be read" in note for note in loaded.notes)


def test_labels_in_a_language(tmp_path: Path) -> None:
    def names(word: str) -> str:
        return "".join(f"{word} {number}x\n" for number in range(12))

    files = {"de.txt": names("Hund"), "en.txt": names("dog"), "br.txt": names("cachorro")}
    path = described(tmp_path, [("de.txt", "de"), ("en.txt", "en"), ("br.txt", "pt-BR")], files)
    first = {
        locale: load_classifier(path, engine=ENGINE, locale=locale) for locale in (None, "de", "pt", "pt_br", "fr")
    }
    assert [model.labels[0].split()[0] for model in first.values()] == ["dog", "Hund", "cachorro", "cachorro", "dog"]
    assert first["de"].notes == ()
    assert any("no labels for 'fr'; it has them for de, en, pt-BR" in note for note in first["fr"].notes)


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_one_rule_for_metadata_of_both_8_bit_types(kind: str) -> None:
    """The real file without metadata, and the metadata of each kind laid over it."""
    from aicli.catalog.formats.tflite import read_model
    from aicli.catalog.preprocess import FeedingOptions, input_spec

    info = read_model((EXPORTED / f"{kind}_imagenet.tflite").read_bytes())
    imagenet = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    for said, expected in ((imagenet, imagenet[0]), (((0.0,) * 3, (1.0,) * 3), None)):
        spec, notes = input_spec("m", info, {}, said, FeedingOptions())
        assert (spec.mean == imagenet[0]) == (expected is not None)
        assert notes == ()
    overruled, _ = input_spec("m", info, {}, imagenet, FeedingOptions(input_range="-1,1"))
    assert overruled.mean == (127.5,) * 3


def test_signatures_by_name() -> None:
    path = EXPORTED / "two_entries.tflite"
    assert load_classifier(path, engine=ENGINE).signature == "infer"
    with pytest.raises(UsageError, match="no signature 'x'; the model has embed, infer"):
        load_classifier(path, engine=ENGINE, signature="x")


def test_labels_that_belong_to_numbers_survive_being_registered(tmp_path: Path) -> None:
    path = tmp_path / "hands.tflite"
    path.write_bytes((EXPORTED / "planes.tflite").read_bytes())
    labels = ["0 one", "1 two", "2 three", "3 four"]
    add_classifier("hands", path, labels, engine=ENGINE, mean="0.485", std="0.229")
    assert load_classifier("hands", engine=ENGINE).labels == tuple(labels)
    add_classifier("numbers", path, engine=ENGINE)
    assert not load_classifier("numbers", engine=ENGINE).names
    with pytest.raises(LabelsError, match="4 classes"):
        add_classifier("few", path, ["a"], engine=ENGINE)
