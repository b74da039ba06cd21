"""Classification of real photos through the guest, held against the same model run directly on Pillow's pixels."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aicli import Classifier, FaceDetector, Failure, Limits
from aicli.errors import LabelsError, ModelError, UsageError
from aicli.nn.engines import load_engine

PHOTOS = {
    "grace_hopper.jpg": "military uniform",
    "parrot.jpg": "macaw",
    "cat_720p.jpg": "Egyptian cat",
    "hot_dog.jpg": "hotdog",
}
COMPARED = ["mobilenet_v2_1.0_224_quant", "tf2_mobilenet_v2_1.0_224_ptq", "mobilenet_v1_0.25_128_quant"]


def directly(classifier: Classifier, photo: Path) -> np.ndarray[Any, Any]:
    """The scores that the model gives on the same pixels prepared by Pillow and NumPy, without any guest."""
    spec, answer = classifier.model.input, classifier.model.output
    image = Image.open(photo).convert("RGB")
    if spec.crop == "crop":
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    size = (spec.width, spec.height)
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    pixels = np.asarray(image.resize(size, filters[spec.filter]), np.float64)
    values = (pixels - spec.mean) / spec.std
    if spec.dtype in ("uint8", "int8"):
        limits = np.iinfo(spec.dtype)
        values = np.clip(np.round(values / spec.scale) + spec.zero_point, limits.min, limits.max)
    interpreter = load_engine("litert").interpreter(classifier.model.path, 1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values[None].astype(spec.dtype))
    interpreter.invoke()
    raw = (
        interpreter.get_tensor(interpreter.get_output_details()[answer.tensor]["index"]).reshape(-1).astype(np.float64)
    )
    return (raw - answer.zero_point) * answer.scale if answer.dtype in ("uint8", "int8") else raw


@pytest.mark.parametrize("photo", PHOTOS)
def test_the_bundled_model_names_real_photos(shared: Path, runtime: str, photo: str) -> None:
    best = Classifier(runtime=runtime)(shared / "images" / photo).best
    assert best is not None
    assert PHOTOS[photo] in best.label.replace("hot dog", "hotdog")


@pytest.mark.parametrize("photo", PHOTOS)
def test_mobilenet_v2_names_real_photos(shared: Path, runtime: str, engine: str, photo: str) -> None:
    model = shared / "models" / "mobilenet_v2_1.0_224_quant.tflite"
    classifier = Classifier(model, shared / "labels" / "imagenet_labels.txt", runtime=runtime, engine=engine)
    best = classifier(shared / "images" / photo).best
    assert best is not None
    assert PHOTOS[photo] in best.label


@pytest.mark.parametrize("model", ["efficientnet_lite0", *COMPARED])
def test_scores_agree_with_the_model_run_directly(
    shared: Path, runtime: str, model: str, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = shared / "models" / f"{model}.tflite"
    labels = shared / "labels" / "imagenet_labels.txt"
    classifier = Classifier(file, labels, runtime=runtime) if file.exists() else Classifier(model, runtime=runtime)
    largest = 0.0
    for photo in PHOTOS:
        expected = directly(classifier, shared / "images" / photo)
        answer = classifier(shared / "images" / photo, top_k=0)
        scores = {prediction.index: prediction.score for prediction in answer.predictions}
        assert len(scores) == len(expected)
        largest = max(largest, *(abs(scores[index] - value) for index, value in enumerate(expected)))
    record_property("largest_difference", largest)
    with capsys.disabled():
        print(f"\n{model} on {runtime}: largest difference of a score {largest:.4f}")
    assert largest <= 0.05


def test_a_retrained_model_with_its_labels(shared: Path, runtime: str) -> None:
    model = shared / "models" / "mobilenet_v2_1.0_224_inat_bird_quant.tflite"
    best = Classifier(model, shared / "labels" / "inat_bird_labels.txt", runtime=runtime)(
        shared / "images" / "parrot.jpg"
    ).best
    assert best is not None
    assert "Ara macao" in best.label


def test_every_kind_of_source_gives_the_same_answer(examples: Path) -> None:
    photo = examples / "grace_hopper.jpg"
    classifier = Classifier(top_k=1)
    image = Image.open(photo).convert("RGB")
    with photo.open("rb") as stream:
        sources: list[Any] = [photo, str(photo), photo.read_bytes(), stream, image, np.asarray(image)]
        best = [classifier(source).best for source in sources]
    assert {prediction.label for prediction in best if prediction} == {"military uniform"}
    scores = [prediction.score for prediction in best if prediction]
    assert max(scores) - min(scores) < 0.02
    decoded = classifier.open(photo)
    assert classifier(photo) == classifier.classify(photo) == classifier(decoded) == classifier.classify(decoded)
    with pytest.raises(TypeError, match="an image is a path, bytes,"):
        classifier.classify(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize(("model", "tolerance"), [("efficientnet_lite0", 0.02), ("mobilenet_v2_1.0_224_quant", 0.05)])
def test_decoding_at_a_fraction_changes_scores_by_a_grey_level_at_most(
    shared: Path, tmp_path: Path, model: str, tolerance: float, photo: str
) -> None:
    # A quantised model moves its scores by up to 0.04 when some pixels change by one grey level of 256.
    image = Image.open(shared / "images" / photo).convert("RGB")
    large = tmp_path / "large.jpg"
    scale = 4000 / max(image.size)
    image.resize((round(image.width * scale / 8) * 8, round(image.height * scale / 8) * 8)).save(large, quality=92)
    file = shared / "models" / f"{model}.tflite"
    labels = shared / "labels" / "imagenet_labels.txt"
    classifier = Classifier(file, labels, top_k=0) if file.exists() else Classifier(model, top_k=0)
    opened = classifier.open(large)
    with Image.open(large) as full:
        assert opened.width < opened.full_width == full.width
        whole = {found.index: found.score for found in classifier(full.convert("RGB")).predictions}
    quick = {found.index: found.score for found in classifier.classify(opened).predictions}
    assert max(abs(quick[index] - whole[index]) for index in whole) < tolerance


def test_top_k_and_min_score(examples: Path) -> None:
    classifier = Classifier(top_k=3)
    photo = examples / "grace_hopper.jpg"
    answer = classifier(photo)
    assert len(answer.predictions) == 3
    assert [p.score for p in answer.predictions] == sorted((p.score for p in answer.predictions), reverse=True)
    every = classifier(photo, top_k=0, min_score=0.0).predictions
    assert len(every) == 1000
    assert classifier(photo, top_k=0, min_score=0.2).predictions == tuple(p for p in every if p.score >= 0.2)
    assert 0 < sum(p.score >= 0.2 for p in every) < 3
    assert classifier(photo, min_score=1.0).predictions == ()
    with Image.open(photo) as image:
        assert (answer.width, answer.height) == image.size


def test_wrong_requests_are_refused(tmp_path: Path, shared: Path) -> None:
    model = shared / "models" / "mobilenet_v1_0.25_128_quant.tflite"
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    with pytest.raises(LabelsError, match=r"2.*1001|1001.*2"):
        Classifier(model, labels)
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"broken\.tflite"):
        Classifier(broken, labels)
    with pytest.raises(ModelError, match="no_such_model"):
        Classifier("no_such_model")
    with pytest.raises(UsageError, match="top_k"):
        Classifier(top_k=-1)
    with pytest.raises(UsageError, match="unknown runtime"):
        Classifier(runtime="v8")
    with pytest.raises(TypeError, match="no option 'topk'; did you mean 'top_k'"):
        Classifier(topk=1)  # type: ignore[call-arg]


def test_wrong_calls_are_refused(examples: Path) -> None:
    classifier, photo = Classifier(), examples / "chelsea.png"
    for wrong, name in (({"top_k": -3}, "top_k"), ({"top_k": 1.5}, "top_k"), ({"min_score": 2}, "min_score")):
        with pytest.raises(UsageError, match=f"{name} is .*; it must be"):
            classifier(photo, **wrong)  # type: ignore[arg-type]
    for task in (classifier, FaceDetector()):
        with pytest.raises(UsageError, match="jobs is 0; it must be an integer from 1 on"):
            task.many([photo], jobs=0)
        for one in (photo, str(photo), photo.read_bytes()):
            with pytest.raises(TypeError, match="many images are an iterable, such as "):
                task.many(one)  # type: ignore[arg-type]


@pytest.mark.parametrize("jobs", [1, 2])
def test_many_takes_whatever_one_call_takes(examples: Path, jobs: int) -> None:
    classifier, photo = Classifier(top_k=1), examples / "grace_hopper.jpg"
    data = photo.read_bytes()
    with photo.open("rb") as stream, photo.open(encoding="latin-1") as text:
        images: list[Any] = [str(photo), stream, io.BytesIO(data), bytearray(data), memoryview(data)]
        images += [classifier.open(photo), Image.open(photo), text]
        *answers, failed = classifier.many(images, jobs=jobs)
    assert [answer.best.label for answer in answers] == ["military uniform"] * 7  # type: ignore[union-attr]
    assert answers[1].image == str(photo) and answers[2].image == "<stream>"
    assert isinstance(failed, Failure) and "a text stream, not a binary one" in str(failed.error)
    begun = classifier.many([photo, 7], jobs=jobs)  # type: ignore[list-item]
    assert not isinstance(next(begun), Failure)
    with pytest.raises(TypeError, match="an image is a path, bytes,"):
        next(begun)


@pytest.mark.parametrize("jobs", [1, 2])
def test_many_takes_the_entries_of_a_folder(examples: Path, tmp_path: Path, jobs: int) -> None:
    (tmp_path / "a.jpg").write_bytes((examples / "grace_hopper.jpg").read_bytes())
    (tmp_path / "b.jpg").write_bytes(b"no photo")
    names = [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
    for folder in (tmp_path, os.fsencode(tmp_path)):
        entries: list[Any] = sorted(os.scandir(folder), key=lambda entry: entry.name)
        answer, failed = Classifier(top_k=1).many(entries, jobs=jobs)
        assert isinstance(failed, Failure) and [answer.image, failed.image] == names
        assert not isinstance(answer, Failure) and answer.best and answer.best.label == "military uniform"


@pytest.mark.parametrize("jobs", [1, 2])
def test_many_takes_paths_of_a_class_of_the_callers_own(examples: Path, jobs: int) -> None:
    class Entry(os.PathLike[str]):
        def __fspath__(self) -> str:
            return str(examples / "grace_hopper.jpg")

    (answer,) = Classifier(top_k=1).many([Entry()], jobs=jobs)
    assert not isinstance(answer, Failure) and answer.image == str(examples / "grace_hopper.jpg")


def test_a_guest_without_enough_memory_says_so_and_recovers(runtime: str, examples: Path) -> None:
    from aicli.errors import GuestMemoryError

    classifier = Classifier(runtime=runtime, limits=Limits(memory=4 << 20))
    with pytest.raises(GuestMemoryError, match=r"limits\.memory gives more"):
        classifier(np.zeros((3000, 3000, 3), np.uint8))
    assert classifier(np.zeros((64, 64, 3), np.uint8)).predictions
