"""Counting right answers on labelled photos, by hand and with the bundled model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aicli import Classifier
from aicli.errors import UsageError
from aicli.results import Classification, Prediction
from aicli.tasks.evaluation import Evaluation, evaluate, find_labelled, interval

PROJECT = Path(__file__).parents[2]
LABELS = ["tench, Tinca tinca", "crane", "crane", "great white shark"]


def answer(*scores: tuple[int, float]) -> Classification:
    return Classification("p", 1, 1, "m", tuple(Prediction(index, LABELS[index], score) for index, score in scores))


def test_counts_by_hand() -> None:
    found = Evaluation(LABELS)
    found.add(0, answer((0, 0.95), (1, 0.05)))
    found.add(0, answer((0, 0.85), (3, 0.1)))
    found.add(0, answer((1, 0.55), (0, 0.4)))
    found.add(3, answer((1, 0.65), (2, 0.3)))
    facts = found.to_dict()
    assert (facts["photos"], facts["top1"], facts["top5"]) == (4, 0.5, 0.75)
    assert facts["balanced"] == pytest.approx((2 / 3 + 0) / 2)
    assert facts["calibration_error"] == pytest.approx((0.05 + 0.15 + 0.55 + 0.65) / 4)
    assert facts["classes"]["tench, Tinca tinca"] == {"photos": 3, "right": 2, "answered": 2}
    assert facts["confused"][0] == {"truth": "tench, Tinca tinca", "answer": "crane", "photos": 1}
    assert facts["calibration"][9] == {"from": 0.9, "photos": 1, "score": 0.95, "right": 1.0}


def test_interval_of_a_part() -> None:
    assert interval(870, 1000) == pytest.approx([0.8477, 0.8894], abs=2e-4)  # Wilson's formula, by hand
    assert interval(0, 0) is None


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_folders_named_after_classes(tmp_path: Path) -> None:
    put(tmp_path, "Tinca_tinca/a.jpg", "great white_shark/b.PNG", "1/c.jpg", "2/d.webp", "0/notes.txt")
    truths = {photo.path.name: photo.truth for photo in find_labelled(tmp_path, LABELS)}
    assert truths == {"a.jpg": 0, "b.PNG": 3, "c.jpg": 1, "d.webp": 2}


def test_wordnet_ids(tmp_path: Path) -> None:
    put(tmp_path, "n01440764_tench.JPEG", "n01484850/x_1.jpg")
    by_id = find_labelled(tmp_path, LABELS, ["n01440764", "n1", "n2", "n01484850"])
    assert [photo.truth for photo in by_id] == [0, 3]
    by_order = find_labelled(tmp_path, ["a", "b"])
    assert [photo.truth for photo in by_order] == [0, 1]
    with pytest.raises(UsageError, match="1 of 2 photos are of no class of the model: 'n01484850'"):
        find_labelled(tmp_path, LABELS)


def test_a_folder_without_photos(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no photos"):
        find_labelled(tmp_path, LABELS)


@pytest.fixture
def photos(tmp_path: Path, shared: Path) -> Path:
    for label, name in {"macaw": "parrot", "Egyptian cat": "cat_720p", "hotdog": "hot_dog"}.items():
        (tmp_path / label).mkdir()
        shutil.copy(shared / "images" / f"{name}.jpg", tmp_path / label)
    (tmp_path / "macaw" / "broken.jpg").write_bytes(b"no photo")
    return tmp_path


def test_the_bundled_model_on_photos(photos: Path) -> None:
    classifier = Classifier()
    steps = [
        found.photos + found.failed for found in evaluate(classifier, find_labelled(photos, classifier.model.labels))
    ]
    assert steps == [1, 2, 3, 4]
    with pytest.raises(UsageError, match="top_k=5"):
        next(evaluate(Classifier(top_k=1), []))


def test_the_script(photos: Path) -> None:
    command = [sys.executable, str(PROJECT / "benchmarks" / "evaluate.py"), str(photos)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "efficientnet_lite0 on 3 photos (1 could not be read)" in done.stdout
    assert "top-1 100.0 %" in done.stdout
    facts = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert (facts["top1"], facts["failed"]) == (1.0, 1)
    wrong = subprocess.run([*command, "-m", "dog_breeds"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, "of no class of the model" in wrong.stderr) == (1, True)
