"""``--isolate``, and what is said when a model kills the program that ran without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aicli import Classifier
from aicli.cli.last_words import words
from aicli.errors import InferenceError
from tests.made_models import divides_by

LABELS = ("one", "two", "three")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 30)).save(tmp_path / "black.png")
    Image.new("RGB", (40, 30), "white").save(tmp_path / "white.png")
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    (tmp_path / "model.tflite").write_bytes(divides_by(1))
    return tmp_path


def classify(photos: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = ["-m", "model.tflite", "-l", "labels.txt", "--input-range", "0,255", "-f", "text", "-j", "1", *arguments]
    command = [sys.executable, "-m", "aicli", "classify", *given, "black.png", "white.png", "black.png"]
    project = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": project}
    return subprocess.run(command, cwd=photos, capture_output=True, text=True, env=environment, check=False)


def test_the_death_of_an_isolated_model_costs_one_photo(photos: Path) -> None:
    done = classify(photos, "--isolate")
    assert done.returncode == 1, done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["black.png", "black.png"]
    assert "white.png: the network failed: the model crashed litert (SIGFPE)" in done.stderr


@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="needs posix_spawn")
def test_the_last_line_names_the_model_and_the_remedy(photos: Path) -> None:
    done = classify(photos)
    assert done.returncode == -8, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == (
        "aicli: model.tflite: the model crashed the program; with --isolate it runs in a process of its own"
    )


def test_a_run_that_ends_well_says_nothing(photos: Path) -> None:
    (photos / "model.tflite").write_bytes(divides_by(1000))
    done = classify(photos)
    assert done.returncode == 0 and "crashed" not in done.stderr, done.stderr


def test_python_has_it_too(photos: Path, engine: str) -> None:
    options: dict[str, Any] = {"engine": engine, "input_range": "0,255"}
    isolated = Classifier(photos / "model.tflite", LABELS, isolate=True, **options)
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert len(isolated(black).predictions) == 3
    with pytest.raises(InferenceError, match="SIGFPE"):
        isolated(white)
    assert len(isolated(black).predictions) == 3


def test_models_of_the_catalog_answer_the_same(examples: Path, engine: str) -> None:
    photo = examples / "astronaut.png"
    here, there = (Classifier(engine=engine, isolate=isolate, threads=1)(photo) for isolate in (False, True))
    assert here == there


@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="needs posix_spawn")
def test_the_last_line_with_jobs_and_by_name(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = classify(photos, "-j", "2")
    assert done.returncode == 1, done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["black.png", "black.png"]
    assert "white.png: the worker process ended (signal 8)" in done.stderr
    assert done.stderr.splitlines()[-1] == f"aicli: {words('model.tflite')}"
    monkeypatch.setenv("AICLI_MODELS_DIR", str(photos / "models"))
    added = [sys.executable, "-m", "aicli", "models", "add", "mine", "model.tflite", "-l", "labels.txt"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run([*added, "--input-range", "0,255"], cwd=photos, env=environment, check=True, capture_output=True)
    done = classify(photos, "-m", "mine")
    assert done.returncode == -8 and done.stderr.splitlines()[-1] == f"aicli: {words('mine')}", done.stderr
