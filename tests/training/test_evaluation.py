"""Counting right answers on labelled photos, by hand and with the bundled models."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aicli import evaluate
from aicli.errors import UsageError
from aicli.training.dataset import Labelled, wordnet_photos
from aicli.training.evaluation import ClassNames, distinct, read_wordnet_ids
from aicli.training.scoring import Scores, wilson
from tests.made_models import answers_no_numbers

PROJECT = Path(__file__).resolve().parents[2]
LABELS = ("tench, Tinca tinca", "crane", "crane", "great white shark")


def test_counts_by_hand() -> None:
    scores = Scores(("a", "b", "c"))
    for label, best, score in (("a", "a", 0.95), ("a", "a", 0.85), ("a", "b", 0.55), ("c", "b", 0.65)):
        scores.add(label, [(best, score), ("c", 1 - score)])
    facts = scores.to_dict()
    assert (facts["photos"], facts["accuracy"]["value"], facts["top_5"]["value"]) == (4, 0.5, 0.75)
    assert facts["mean_recall"] == pytest.approx((2 / 3 + 0) / 2, abs=1e-6)
    assert facts["calibration_error"] == pytest.approx((0.05 + 0.15 + 0.55 + 0.65) / 4)
    first = {"label": "a", "photos": 3, "named": 2, "right": 2, "precision": 1.0, "recall": 0.666667}
    assert facts["classes"][0] == first
    assert facts["classes"][1]["recall"] is None  # no photo shows it
    assert facts["calibration"][-1] == {"photos": 1, "mean_score": 0.95, "right": 1.0}
    assert math.isnan(Scores(("a", "b")).mean_recall)


def test_wilson_interval() -> None:
    assert wilson(870, 1000)[1:] == pytest.approx((0.8477, 0.8894), abs=2e-4)  # Wilson's formula, by hand
    assert wilson(0, 0) == (0.0, 0.0, 1.0)


def test_labels_as_people_write_them() -> None:
    find = ClassNames(LABELS, distinct(LABELS))
    for label, wanted in {
        "Tench,_Tinca_tinca": LABELS[0],
        "tinca tinca": LABELS[0],
        "great white_shark": LABELS[3],
        "2": "crane (2)",
        "crane (1)": "crane (1)",
    }.items():
        assert find(label, "photos") == wanted
    for label, message in {
        "crane": "photos: the model has more than one class called 'crane'; name the class by its number: 1 and 2",
        "tensh": "photos: the model has no class called 'tensh'; is it 'tench, Tinca tinca'?",
        "4": f"photos: the model has no class called '4'; its 4 classes go from '{LABELS[0]}' to '{LABELS[3]}'",
        "n01440764": "photos: 'n01440764' begins with a WordNet id; wordnet_ids takes the file",
    }.items():
        with pytest.raises(UsageError) as raised:
            find(label, "photos")
        assert str(raised.value).startswith(message)


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_photos_with_wordnet_ids(tmp_path: Path) -> None:
    put(tmp_path, "n01440764_tench.JPEG", "n01484850/x_1.jpg", "n01484850/x_2.jpg")
    tench, shark = (Labelled(tmp_path / "n01440764_tench.JPEG", "n01440764"),), "n01484850"
    assert wordnet_photos(tmp_path, limit=1) == [*tench, Labelled(tmp_path / shark / "x_1.jpg", shark)]
    put(tmp_path, "fish.jpg")
    with pytest.raises(UsageError, match=r"fish\.jpg: neither its name nor its folder's begins with a WordNet id"):
        wordnet_photos(tmp_path)


def test_a_file_of_wordnet_ids(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("n01440764 tench, Tinca tinca\n\nn02012849\nn03126707\nn01484850\n")
    find = read_wordnet_ids(file, distinct(LABELS))
    assert [find(name, "x") for name in ("n03126707", "n01484850")] == ["crane (2)", LABELS[3]]
    assert read_wordnet_ids(file, ("background", *LABELS))("n01484850", "x") == LABELS[3]
    with pytest.raises(UsageError, match=r"photos: .*ids\.txt has no id n00000001"):
        find("n00000001", "photos")
    for text, message in (
        ("tench\n", "'tench' is not a WordNet id"),
        ("n01440764\n" * 4, "it has 1 WordNet id, and the model 4 classes"),
        ("n01440764\n", "it has 1 WordNet id, and the model 4 classes"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=message):
            read_wordnet_ids(file, LABELS)
    with pytest.raises(UsageError, match=r"nothing\.txt: the WordNet ids cannot be read"):
        read_wordnet_ids(tmp_path / "nothing.txt", LABELS)


def test_the_command_with_wordnet_ids(aicli: Callable[..., Any], tmp_path: Path) -> None:
    """Ids in the order of the bundled model's classes, made up but for those of the photos."""
    places = {"chelsea.png": 285, "grace_hopper.jpg": 652}
    ids = [f"n{index:08}" for index in range(1000)]
    (tmp_path / "ids.txt").write_text("".join(f"{name}\n" for name in ids))
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, index in places.items():
        shutil.copy(PROJECT / "examples" / name, photos / f"{ids[index]}_{name}")
    result = aicli("evaluate", str(photos), "--wordnet-ids", str(tmp_path / "ids.txt"), "-j", "1")
    assert result.code == 0, result.err
    assert "accuracy 100.0%" in result.out and "mean recall 100.0%" in result.out
    refused = aicli("evaluate", str(photos.parent), "-j", "1")
    assert refused.code == 2 and "; its 1000 classes go from 'tench, Tinca tinca' to " in refused.err
    assert refused.err.rstrip().endswith("; --model names another model")
    (photos / ids[285]).mkdir()
    (photos / f"{ids[285]}_chelsea.png").rename(photos / ids[285] / "cat.png")
    refused = aicli("evaluate", str(photos), "-j", "1")
    assert refused.code == 2 and "--wordnet-ids takes the file" in refused.err
    (photos / ids[285] / "broken.jpg").write_bytes(b"no photo")
    as_json = aicli("evaluate", str(photos), "--wordnet-ids", str(tmp_path / "ids.txt"), "-f", "json", "-j", "1")
    facts = json.loads(as_json.out)
    assert as_json.code == 1 and (facts["photos"], facts["mean_recall"], len(facts["failures"])) == (2, 1.0, 1)


def test_evaluation_takes_labels_as_people_write_them(tmp_path: Path) -> None:
    folder = tmp_path / "test"
    for name, label in (("chelsea.png", "Egyptian_Cat"), ("grace_hopper.jpg", "652")):
        (folder / label).mkdir(parents=True)
        shutil.copy(PROJECT / "examples" / name, folder / label / name)
    outcome = evaluate("efficientnet_lite0", folder, jobs=1)
    assert outcome.accuracy == 1.0
    os.rename(folder / "652", folder / "egyptian catt")
    with pytest.raises(UsageError, match="no class called 'egyptian catt'; is it 'Egyptian cat'"):
        evaluate("efficientnet_lite0", folder, jobs=1)


def test_photos_for_which_a_model_has_no_numbers_are_named(aicli: Callable[..., Any], tmp_path: Path) -> None:
    model, photos = tmp_path / "log.tflite", tmp_path / "photos"
    model.write_bytes(answers_no_numbers())
    (tmp_path / "labels.txt").write_text("dark\nlight\nother\n")
    for label, value in (("dark", 20), ("light", 230)):
        (photos / label).mkdir(parents=True)
        Image.new("RGB", (8, 8), (value, value, value)).save(photos / label / "a.png")
    given = (str(photos), "-m", str(model), "-l", str(tmp_path / "labels.txt"), "-j", "1")
    result = aicli("evaluate", *given, "--input-range", "-1,1")
    assert result.code == 1 and "on 1 photo, 1 failed" in result.out
    assert f"aicli: {photos / 'dark' / 'a.png'}: the model's scores are not numbers: " in result.err
    assert "; give the right range with --input-range, or take another model\n" in result.err
    assert aicli("evaluate", *given, "--input-range", "0,1").code == 0
