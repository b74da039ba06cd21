"""Classifiers as people export them: every answer is the plain interpreter's, fed as the model's author does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain import photo_for, plain_scores

from aicli import Classifier
from aicli.cli.console import told
from aicli.errors import InferenceError
from aicli.tasks.trial import try_ranges
from tests.made_models import answers_no_numbers

EXPORTED = Path(__file__).parents[1] / "data" / "classifiers"
PIXELS, UNIT, SIGNED = (0, 255), (0, 1), (-1, 1)

TOLD = {
    **dict.fromkeys(("rescaling", "tutorial_rescaling_same", "lambda_div255"), PIXELS),
    **dict.fromkeys(("resc_m11_valid", "resc_m11_same"), PIXELS),
    **dict.fromkeys(("resizing_rescaling", "pad_rescaling", "centercrop_rescaling"), PIXELS),
    **dict.fromkeys(("bn_first", "normalization_layer", "resnet50_preprocess_in_model"), PIXELS),
    **dict.fromkeys(("dynamic_hw", "mnist_3d", "ptq_float_io_0255"), PIXELS),
    **dict.fromkeys(("resc_int8", "uint8_cast"), "bytes"),
    "ptq_float_io_01": UNIT,
    "ptq_float_io_m11": SIGNED,
}
"""What the files of the shared cases state themselves."""
TOLD_BY_EXPORTS = {
    **dict.fromkeys(("uint8_imagenet", "int8_imagenet"), "imagenet"),
    **dict.fromkeys(("uint8_dark", "int8_dark", "quantised_dark", "rescaling_from_unit"), UNIT),
    **dict.fromkeys(("ultralytics_planes", "ultralytics_json", "ultralytics_dictionary"), UNIT),
    **dict.fromkeys(("dynamic_range_rescaling", "half_rescaling"), PIXELS),
}
OPEN = {
    **dict.fromkeys(("plain", "batch8", "nonsquare_h96_w160"), SIGNED),
    "mnist_gray": UNIT,
}
OPEN_EXPORTS = {"planes": "imagenet", "planes_grey": UNIT, "int16_signed": SIGNED, "int16_inside_signed": SIGNED}


def compare(path: Path, photo: Path, feeding: Any, **options: Any) -> Classifier:
    """Holds the scores of a model against the plain interpreter's."""
    classifier = Classifier(path, top_k=0, **options)
    spec = classifier.model.input
    pixels = photo_for(photo, spec.width, spec.height)
    expected = plain_scores(path, pixels, feeding)
    if classifier.model.output.kind == "logits":
        expected = np.exp(expected - expected.max()) / np.exp(expected - expected.max()).sum()
    found = np.zeros(len(expected))
    for prediction in classifier(pixels).predictions:
        found[prediction.index] = prediction.score
    # A quantised network moves by some of its steps where a float is rounded the other way.
    assert np.abs(found - expected).max() < (0.03 if "int" in path.name or "quant" in path.name else 2e-4)
    return classifier


@pytest.mark.parametrize("name", TOLD)
def test_what_the_file_tells(shared: Path, name: str) -> None:
    classifier = compare(shared / "cases" / "models" / f"{name}.tflite", shared / "images" / "parrot.jpg", TOLD[name])
    assert not any("nothing says" in note for note in classifier.model.notes)


@pytest.mark.parametrize("name", TOLD_BY_EXPORTS)
def test_what_exported_files_tell(examples: Path, name: str) -> None:
    feeding = TOLD_BY_EXPORTS[name]
    classifier = compare(EXPORTED / f"{name}.tflite", examples / "grace_hopper.jpg", feeding)
    assert not any("nothing says" in note for note in classifier.model.notes)


@pytest.mark.parametrize("name", [*OPEN, *OPEN_EXPORTS])
def test_what_is_open_is_said_with_every_range_that_it_could_be(shared: Path, name: str) -> None:
    folder = shared / "cases" / "models" if name in OPEN else EXPORTED
    path, photo = folder / f"{name}.tflite", shared / "images" / "parrot.jpg"
    notes = compare(path, photo, {**OPEN, **OPEN_EXPORTS}[name]).model.notes
    note = told(next(note for note in notes if "it could be" in note))
    assert "--input-range 0,1" in note and f"aicli models show {path.name} --try PHOTO" in note
    assert ("--input-range 0,255" in note) != name.startswith("int16")
    grey, wide = "grey" in name or "gray" in name, "int16" in name
    assert ("--mean 0.485,0.456,0.406" in note) is not (grey or wide)
    for low, high in (PIXELS, UNIT, SIGNED):
        chosen = compare(path, photo, (low, high), input_range=f"{low},{high}")
        assert not any("it could be" in note for note in chosen.model.notes)


@pytest.mark.parametrize(
    ("name", "predicted"),
    [
        ("ultralytics_planes", (0.0320, 0.8497, 0.0182, 0.1001)),
        ("ultralytics_json", (0.0321, 0.8498, 0.0182, 0.0999)),
        ("ultralytics_dictionary", (0.0321, 0.8498, 0.0182, 0.0999)),
    ],
)
def test_ultralytics_predicts_the_same(examples: Path, name: str, predicted: tuple[float, ...]) -> None:
    """What its own ``predict`` gives for the file of a photo, with the size, range, crop and names of the model."""
    classifier = Classifier(EXPORTED / f"{name}.tflite", top_k=0)
    found = {item.label: item.score for item in classifier(examples / "grace_hopper.jpg").predictions}
    assert found == pytest.approx(dict(zip(("dog", "cat", "food", "bird"), predicted, strict=True)), abs=0.003)
    assert not any("could be" in note for note in classifier.model.notes)


def test_small_filters_may_be_those_of_keras_resnet(shared: Path) -> None:
    """A first layer cannot tell scaling inside the model from pixels less their mean, which Keras feeds as BGR."""
    path = shared / "cases" / "models" / "rescaling.tflite"
    photo = shared / "images" / "parrot.jpg"
    option = "--mean 123.68,116.779,103.939 --std 1 --channels bgr"
    assert any(f"or {option};" in told(note) for note in Classifier(path).model.notes)
    given: Any = {"mean": "123.68,116.779,103.939", "std": "1", "channels": "bgr"}
    trials = {told(trial.option): trial.predictions for trial in try_ranges(path, photo, top_k=0)}
    assert trials[option] == Classifier(path, top_k=0, **given)(photo).predictions
    pixels = photo_for(photo, 96, 96)
    real = pixels[..., ::-1] - np.array([103.939, 116.779, 123.68])
    expected = plain_scores(path, real + 127.5, (-127.5, 127.5))
    found = Classifier(path, top_k=0, **given)(pixels).predictions
    assert [item.score for item in sorted(found, key=lambda item: item.index)] == pytest.approx(expected, abs=1e-3)


def test_a_fixed_batch_answers_for_its_first_image(shared: Path) -> None:
    classifier = compare(
        shared / "cases" / "models" / "batch8.tflite", shared / "images" / "parrot.jpg", UNIT, input_range="0,1"
    )
    assert classifier.model.input.batch == 8
    assert len(classifier.model.labels) == 4


@pytest.mark.parametrize("name", ["planes", "planes_grey", "logit_grey"])
@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_the_guest_lays_out_planes_and_grey_as_it_does_pixels(shared: Path, name: str, resize: Any) -> None:
    """Whatever is done to the photo, the same pixels must arrive: compared on a photo that was fitted before."""
    classifier = Classifier(EXPORTED / f"{name}.tflite", top_k=0, resize=resize, input_range="-1,1")
    photo = photo_for(shared / "images" / "parrot.jpg", 96, 48)
    if resize == "crop":
        fitted = photo[:, 24:72]
    elif resize == "pad":
        fitted = np.zeros((96, 96, 3), np.uint8)
        fitted[24:72] = photo
    else:
        fitted = photo
    squashing = Classifier(EXPORTED / f"{name}.tflite", top_k=0, resize="squash", input_range="-1,1")
    scores = [{item.index: item.score for item in done.predictions} for done in (classifier(photo), squashing(fitted))]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)
    assert len(scores[0]) == classifier.model.output.classes


def test_channels_of_planes_can_be_turned(examples: Path) -> None:
    pixels = photo_for(examples / "grace_hopper.jpg", 48, 48)
    path = EXPORTED / "planes.tflite"
    turned = Classifier(path, top_k=0, channels="bgr", input_range="0,1")(pixels[..., ::-1].copy())
    assert turned.predictions == Classifier(path, top_k=0, input_range="0,1")(pixels).predictions


@pytest.mark.parametrize(
    ("mean", "std"),
    [("0.485,0.456,0.406", "0.229,0.224,0.225"), ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))],
)
def test_mean_and_deviation_in_either_unit(examples: Path, mean: Any, std: Any) -> None:
    compare(EXPORTED / "planes.tflite", examples / "grace_hopper.jpg", "imagenet", mean=mean, std=std)


@pytest.mark.parametrize(("labels", "classes"), [(["cat", "dog"], 2), (["cat"], 1), (None, 1)])
@pytest.mark.parametrize("name", ["dense1_logit", "dense1_sigmoid"])
def test_one_output(shared: Path, name: str, labels: list[str] | None, classes: int) -> None:
    path = shared / "cases" / "models" / f"{name}.tflite"
    classifier = Classifier(path, labels, top_k=0, input_range="0,1")
    spec = classifier.model.input
    pixels = photo_for(shared / "images" / "parrot.jpg", spec.width, spec.height)
    (value,) = plain_scores(path, pixels, UNIT)
    p = 1 / (1 + np.exp(-value)) if name == "dense1_logit" else value
    scores = {item.index: item.score for item in classifier(pixels).predictions}
    assert scores == pytest.approx({0: 1 - p, 1: p} if classes == 2 else {0: p}, abs=1e-4)
    assert 0.001 < p < 0.999


def test_the_signature_that_is_a_classifier(examples: Path) -> None:
    path = EXPORTED / "two_entries.tflite"
    classifier = Classifier(path, top_k=0)
    pixels = photo_for(examples / "grace_hopper.jpg", 48, 48)
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner("infer")
    expected = runner(image=pixels[None].astype(np.float32))["probabilities"][0]
    scores = {item.index: item.score for item in classifier(pixels).predictions}
    assert [scores[index] for index in range(4)] == pytest.approx(expected, abs=1e-4)
    assert any("infer" in note and "embed" in note for note in classifier.model.notes)
    features = Classifier(path, top_k=0, signature="embed")
    assert features.model.output.classes == 8


def test_scores_that_are_not_numbers_are_said_to_be_none(tmp_path: Path) -> None:
    """A black photo's mean is -1 or 0 in the usual ranges, and this model takes its logarithm."""
    path = tmp_path / "log.tflite"
    path.write_bytes(answers_no_numbers())
    black = np.zeros((8, 8, 3), np.uint8)
    what = "the model's scores are not numbers: its input range is another, or its weights are damaged"
    with pytest.raises(InferenceError) as caught:
        Classifier(path, input_range="-1,1")(black)
    assert str(caught.value) == f"{what}; give the right range with input_range, or take another model"
    with pytest.raises(InferenceError):
        Classifier(path, input_range="0,1")(black)  # log 0: infinite
    assert len(Classifier(path, input_range="1,2", top_k=3)(black).predictions) == 3

    grey = np.full((8, 8, 3), 40, np.uint8)  # the usual ranges are tried to their end
    found = {told(trial.option): (len(trial.predictions), trial.error) for trial in try_ranges(path, grey)}
    assert found["--input-range -1,1"] == (0, what)
    assert found["--input-range 0,1"] == (3, None)
    assert len(found) >= 4
