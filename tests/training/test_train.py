"""From folders of photos to a file that knows them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aicli import Classifier, evaluate, train
from aicli.catalog.load import load_classifier
from aicli.errors import AicliError, UsageError
from aicli.nn.engines import installed_engines, load_engine
from aicli.tasks.many import Failure
from aicli.training.dataset import Labelled, labelled_photos
from aicli.training.features import Features, extract
from aicli.training.fitting import gather
from aicli.training.head import Sample, fit_head, softmax
from aicli.training.report import write_report
from aicli.training.surgery import read_body
from tests.training.conftest import make_photos

PROJECT = Path(__file__).resolve().parents[2]
SHARED = PROJECT.parent / "shared"


def test_a_trained_file_knows_new_photos_without_a_label_file(photos: Path, tmp_path: Path) -> None:
    trained = train(photos, tmp_path / "own.tflite", jobs=1)
    assert trained.labels == ("astronaut", "cat", "officer")
    assert trained.counts == {"astronaut": 8, "cat": 8, "officer": 8}
    assert trained.scores.photos == 24 and trained.scores.right == 24
    new = make_photos(tmp_path / "new", 3, first=8)
    outcome = evaluate(tmp_path / "own.tflite", new, jobs=1)
    assert outcome.accuracy == 1.0 and outcome.scores.photos == 9
    assert outcome.notes == ()  # nothing had to be assumed
    assert "24 photos" in str(trained) and "100.0%" in str(outcome)


@pytest.mark.parametrize("base", ["efficientnet_lite0", "dog_breeds"])
def test_the_file_answers_as_the_head_computed(photos: Path, tmp_path: Path, base: str, engine: str) -> None:
    """The features times the head's weights in NumPy, against the file in each engine: differences below 1e-3."""
    train(photos, tmp_path / "own.tflite", base=base, jobs=1)
    model = load_classifier(base, engine=load_engine(engine))
    body = read_body(base, model.path.read_bytes(), model.output.tensor)
    paths = sorted(str(path) for path in photos.rglob("*.png"))
    rows = np.stack([item.rows for item in extract(body, model.input, paths) if isinstance(item, Features)])
    classes = np.array([("astronaut", "cat", "officer").index(Path(path).parent.name) for path in paths])
    head = fit_head(Sample(rows, classes), 3, seed=0)
    wanted = softmax(rows[:, 0] @ head.weights.T + head.bias)
    classifier = Classifier(tmp_path / "own.tflite", engine=engine, top_k=0)
    for path, row in zip(paths, wanted, strict=True):
        scores = {item.label: item.score for item in classifier(path).predictions}
        found = [scores[label] for label in classifier.model.labels]
        assert np.abs(np.array(found) - row).max() < 1e-3


@pytest.fixture(params=installed_engines())
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", ["mobilenet_v2_1.0_224_quant", "tf2_mobilenet_v2_1.0_224_ptq"])
def test_a_quantised_base_keeps_its_body(photos: Path, tmp_path: Path, name: str, shared: Path, engine: str) -> None:
    base = shared / "models" / f"{name}.tflite"
    train(photos, tmp_path / "own.tflite", base=base, jobs=1)
    assert (tmp_path / "own.tflite").stat().st_size < base.stat().st_size
    classifier = Classifier(tmp_path / "own.tflite", engine=engine)
    assert classifier.model.input.dtype in ("uint8", "int8") and classifier.model.output.dtype == "float32"
    new = make_photos(tmp_path / "new", 2, first=8)
    assert evaluate(tmp_path / "own.tflite", new, jobs=1, engine=engine).accuracy == 1.0


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 4)
    again = {"features": "no-resume"}
    variants: dict[str, dict[str, Any]] = {"a": {}, "b": {**again}, "c": {**again, "jobs": 2}}
    for name, options in variants.items():
        train(photos, tmp_path / f"{name}.tflite", augment=True, **{"jobs": 1, **options})
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "c.tflite").read_bytes()


def test_trees_of_others(tmp_path: Path, shared: Path) -> None:
    folder = tmp_path / "trees"
    folder.mkdir()
    for name in ("Hemlock", "Japanese_Cherry"):
        (folder / name).symlink_to(shared / "train" / name)  # links are followed
    trained = train(folder, tmp_path / "trees.tflite", jobs=2)
    assert trained.scores.photos == 20 and trained.scores.right >= 19
    answer = Classifier(tmp_path / "trees.tflite")(shared / "train" / "Test" / "test_image.jpg")
    assert answer.best is not None and answer.best.label == "Hemlock"
    # 20 of 20 says little: the mean score claims no more than the rule of succession allows
    low, high = trained.scores.accuracy.low, trained.scores.accuracy.high
    assert 0.8 < low < 0.85 and high == 1.0
    assert answer.best.score < 0.99


def test_validation_by_share_and_by_folder(photos: Path, tmp_path: Path) -> None:
    share = train(photos, tmp_path / "share.tflite", validation=0.25, jobs=1)
    assert share.scores.photos == 6 and share.counts == {"astronaut": 6, "cat": 6, "officer": 6}
    other = make_photos(tmp_path / "other", 2, first=8)
    folder = train(photos, tmp_path / "folder.tflite", validation=other, jobs=1)
    assert folder.scores.photos == 6 and folder.counts == {"astronaut": 8, "cat": 8, "officer": 8}
    make_photos(tmp_path / "strange", 1)
    (tmp_path / "strange" / "cat").rename(tmp_path / "strange" / "kitten")
    with pytest.raises(UsageError, match="no class of the training is called 'kitten'"):
        train(photos, tmp_path / "x.tflite", validation=tmp_path / "strange", jobs=1)
    with pytest.raises(UsageError, match="a share between 0 and 1"):
        train(photos, tmp_path / "x.tflite", validation=1.5, jobs=1)


def test_negative_photos_become_other(photos: Path, tmp_path: Path) -> None:
    shutil.move(photos / "officer", tmp_path / "none")
    trained = train(photos, tmp_path / "own.tflite", negative=tmp_path / "none", jobs=1)
    assert trained.labels == ("astronaut", "cat", "other")
    best = Classifier(tmp_path / "own.tflite")(tmp_path / "none" / "0.png").best
    assert best is not None and best.label == "other"


def test_lists_and_labels_that_are_no_folder_names(photos: Path, tmp_path: Path) -> None:
    rows = [
        {"path": f"{name}/{number}.png", "label": {"cat": "2 fingers", "officer": "a/b"}[name]}
        for name in ("cat", "officer")
        for number in range(4)
    ]
    (photos / "list.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    lines = "".join(f"{row['path']},{row['label']}\r\n" for row in rows)
    (photos / "list.csv").write_text(f"path,label\r\n{lines}")
    for name in ("list.jsonl", "list.csv"):
        assert train(photos / name, tmp_path / "own.tflite", jobs=1).labels == ("2 fingers", "a/b")
        assert Classifier(tmp_path / "own.tflite").model.labels == ("2 fingers", "a/b")
    (photos / "cat" / ".aicli-label").write_text("cat/felis\n")
    assert "cat/felis" in train(photos, tmp_path / "own.tflite", jobs=1).labels
    (photos / "bad.csv").write_text("path\r\ncat/0.png\r\n")
    for text, words in {
        "path\r\ncat/0.png\r\n": r"bad\.csv: its first line has to name the columns 'path' and 'label'",
        "cat/0.png,cat\r\n": r"bad\.csv: its first line has to name",
        "path,label\r\ncat/0.png\r\n": r"bad\.csv, line 2: a row needs 'path' and 'label'",
        "path,label\r\n": r"bad\.csv: there are no photos in it",
        "": r"bad\.csv: there are no photos in it",
        "path,label\r\nno/0.png,a\r\nno/1.png,b\r\n": r"; the first: \S*no/0\.png: cannot be read \(No such file",
    }.items():
        (photos / "bad.csv").write_text(text)
        with pytest.raises(AicliError, match=words):
            train(photos / "bad.csv", tmp_path / "own.tflite", jobs=1)
    (photos / "bad.csv").write_bytes(b"path,label\n\xe4.png,a\n")
    with pytest.raises(UsageError, match="save the list as CSV in UTF-8"):
        train(photos / "bad.csv", tmp_path / "own.tflite", jobs=1)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_lists_as_spreadsheets_write_them(photos: Path, tmp_path: Path, mark: str) -> None:
    rows = [f"{name}/{number}.png{mark}{label}" for label, name in enumerate(("cat", "officer")) for number in range(4)]
    (photos / "list.csv").write_text("\ufeff" + "\r\n".join([f" Path{mark}Label", *rows]), encoding="utf-8")
    assert [photo.label for photo in labelled_photos(photos / "list.csv")] == ["0"] * 4 + ["1"] * 4
    lines = [json.dumps({"path": row.split(mark)[0], "label": int(row.split(mark)[1])}) for row in rows]
    (photos / "list.jsonl").write_text("\n".join(lines))
    assert labelled_photos(photos / "list.jsonl") == labelled_photos(photos / "list.csv")


def test_groups_keep_labels_that_no_folder_can_have(
    aicli: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "".join(f"{name}/{number}.png,{name}/x\r\n" for name in ("cat", "officer") for number in range(4))
    (photos / "list.csv").write_text(f"path,label\r\n{lines}")
    train(photos / "list.csv", tmp_path / "own.tflite", jobs=1)
    sorted_photos = tmp_path / "sorted"
    two = [str(photos / "cat" / f"{number}.png") for number in (0, 1)]
    assert aicli("classify", "-m", str(tmp_path / "own.tflite"), *two, "--group", str(sorted_photos)).code == 0
    assert (sorted_photos / "cat_x" / ".aicli-label").read_text() == "cat/x"
    make_photos(sorted_photos, 3, names=("officer", "astronaut"))
    assert "cat/x" in train(sorted_photos, tmp_path / "again.tflite", jobs=1).labels


def test_what_a_user_should_know_is_said(photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "cat" / "0.png", photos / "officer" / "cat.png")
    shutil.copy(photos / "cat" / "1.png", photos / "cat" / "again.png")
    (photos / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff rubbish")
    (photos / "wren").mkdir()
    (photos / "wren" / "a.mp4").touch()
    (photos / ".git").mkdir()
    trained = train(photos, tmp_path / "own.tflite", jobs=1)
    notes = "\n".join(trained.notes)
    assert "the same photo in two classes, left out" in notes and "officer/cat.png" in notes
    assert "1 repeated photo left out" in notes
    assert trained.notes[0] == "no photos in the folder wren, so no class" and ".git" not in notes
    assert "fewer than 10 photos: astronaut (8), cat (7), officer (8)" in notes
    assert [Path(failure.image).name for failure in trained.failures] == ["broken.jpg"]
    assert trained.counts == {"astronaut": 8, "cat": 7, "officer": 8}


def test_what_becomes_of_the_folder_meanwhile_costs_no_training(photos: Path, tmp_path: Path) -> None:
    """Links that lead nowhere are no classes, and once all photos are read the folder is not looked at again."""
    (photos / "loop").symlink_to("loop")
    (photos / "gone").symlink_to("nowhere")
    (photos / "wren").mkdir()

    def remove(done: int, failed: int, total: int) -> None:
        if done == total:
            shutil.rmtree(photos)

    trained = train(photos, tmp_path / "own.tflite", jobs=1, progress=remove)
    assert not photos.exists() and (tmp_path / "own.tflite").stat().st_size == trained.size
    assert "no photos in the folder wren, so no class" in trained.notes
    assert not any("loop" in note or "gone" in note for note in trained.notes)


def test_one_photo_is_spoken_of_as_one() -> None:
    given = [Labelled(Path(f"{number}.png"), "cat") for number in range(2)]
    broken = [Failure(str(photo.path), AicliError("no image")) for photo in given]
    with pytest.raises(AicliError, match=r"^the only photo cannot be read: 0\.png: no image$"):
        gather(given[:1], broken[:1], ("cat",), 1)
    with pytest.raises(AicliError, match=r"^none of the 2 photos can be read; the first: 0\.png: no image$"):
        gather(given, broken, ("cat",), 1)


def test_mislabelled_photos_are_suspected(photos: Path, tmp_path: Path) -> None:
    make_photos(photos, 12)
    shutil.move(photos / "cat" / "3.png", photos / "officer" / "wrong.png")
    trained = train(photos, tmp_path / "own.tflite", jobs=1)
    assert [Path(doubt.path).name for doubt in trained.suspects] == ["wrong.png"]
    assert trained.suspects[0].answer == "cat"
    for name in ("report.html", "report.md"):
        write_report(trained, tmp_path / name)
        text = (tmp_path / name).read_text()
        assert "What to do next" in text and "Move those that lie in the wrong folder" in text
        assert "The class officer is found least often: 12 of its 13 photos." in text and "taken for cat;" in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: shutil.rmtree(root), "no such folder"),
        (lambda root: [shutil.rmtree(root / name) for name in ("cat", "officer")], "there is one class only"),
        (lambda root: [shutil.rmtree(path) for path in root.iterdir()], "it has no folders"),
        (lambda root: [path.unlink() for path in root.rglob("*.png")], "there are no photos"),
        (lambda root: [path.write_bytes(b"no") for path in root.rglob("*.png")], "none of the 24 photos can be read"),
    ],
)
def test_photos_that_cannot_be_trained_on(photos: Path, tmp_path: Path, make: Any, message: str) -> None:
    make(photos)
    with pytest.raises(AicliError, match=message):
        train(photos, tmp_path / "own.tflite", jobs=1)
    assert not (tmp_path / "own.tflite").exists()


def test_a_base_that_is_no_classifier(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(AicliError, match=r"pnet\.tflite"):
        train(photos, tmp_path / "own.tflite", base=PROJECT / "models" / "pnet.tflite", jobs=1)
    with pytest.raises(UsageError, match=r"ends in \.tflite"):
        train(photos, tmp_path / "own.model", jobs=1)


def test_a_second_run_computes_only_what_is_new(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    from aicli.training import features

    train(photos, tmp_path / "own.tflite", jobs=1)
    computed: list[str] = []
    original = features.Extractor.__call__

    def counted(self: Any, photo: Any) -> Features:
        computed.append(photo.path)
        return original(self, photo)

    monkeypatch.setattr(features.Extractor, "__call__", counted)
    found: list[bytes] = []
    find = features.FeatureStore.find
    monkeypatch.setattr(
        features.FeatureStore, "find", lambda store, digest, *rest: found.append(digest) or find(store, digest, *rest)
    )
    make_photos(photos, 1, first=8)
    train(photos, tmp_path / "own.tflite", jobs=1)
    assert sorted(Path(path).name for path in computed) == ["8.png"] * 3
    assert len(found) == 24  # each once


def test_a_run_that_is_broken_off_loses_nothing(photos: Path, tmp_path: Path, own_cache: Path) -> None:
    make_photos(photos, 20)
    command = [sys.executable, "-m", "aicli", "train", str(photos), "-o", str(tmp_path / "own.tflite"), "-j", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(
        path.stat().st_size > 20_000 for path in own_cache.rglob("*.sqlite*")
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    if process.returncode != 0:  # it may have been quicker
        assert process.returncode == 130 and stderr.split("\n")[-2:] == ["aicli: interrupted", ""], stderr
        assert not (tmp_path / "own.tflite").exists()
    assert not list(tmp_path.glob(".aicli-*"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command(aicli: Any, photos: Path, tmp_path: Path) -> None:
    (photos / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff rubbish")
    report = tmp_path / "report.html"
    model = tmp_path / "own.tflite"
    result = aicli("train", str(photos), "-o", str(model), "-j", "1", "--report", str(report))
    assert result.code == 1 and re.search(r"broken\.jpg", result.err)
    assert result.out.startswith(f"{model}: 3 classes from 24 photos") and "RECALL" in result.out
    page = report.read_text()
    assert "<svg" in page and "Calibration" in page and "broken.jpg" in page
    as_json = aicli("evaluate", "-m", str(model), str(make_photos(tmp_path / "new", 2, first=8)), "-f", "json")
    assert as_json.code == 0 and json.loads(as_json.out)["accuracy"]["value"] == 1.0
    for arguments, message in (
        (["train", str(photos)], "say where to write the model"),
        (["train", "-o", "x.tflite"], "name one folder"),
        (["train", str(photos), "-o", str(model), "--report", "x.pdf"], r"a report is one of .html, .md, .json"),
        (["evaluate", "-m", str(model), str(SHARED / "nothing")], "no such folder"),
    ):
        refused = aicli(*arguments)
        assert refused.code == 2 and re.search(message, refused.err), arguments
        assert len(refused.err.splitlines()) == 1


def test_places_that_nothing_is_written_to(aicli: Any, photos: Path, tmp_path: Path) -> None:
    """Refused before any photo is read, in one line; what is there stays as it is."""
    train(photos, tmp_path / "base.tflite", jobs=1)
    base = (tmp_path / "base.tflite").read_bytes()
    shutil.copy(tmp_path / "base.tflite", photos / "cat" / "cat.tflite")
    (photos / "list.csv").write_text("path,label\ncat/cat.tflite,a\ncat/0.png,b\n")
    other = make_photos(tmp_path / "other", 2, first=8)
    (other / "cat" / "8.png").rename(other / "cat" / "0.tflite")
    (other / "cat" / "8.png").symlink_to("0.tflite")
    (tmp_path / "link.tflite").symlink_to(photos / "cat" / "0.png")
    (tmp_path / "link.html").symlink_to(photos / "cat" / "0.png")
    os.link(photos / "officer" / "1.png", tmp_path / "hard.tflite")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    for arguments, message in (
        ([str(photos), "-o", str(tmp_path / "none" / "own.tflite")], "there is no folder .*none; make it first"),
        ([str(photos), "-o", str(tmp_path / "own.tflite"), "--report", str(tmp_path / "none" / "x.md")], "no folder"),
        (
            [str(photos), "-o", str(tmp_path / "base.tflite"), "--base", str(tmp_path / "base.tflite")],
            "is read here",
        ),
        ([str(photos / "list.csv"), "-o", str(photos / "cat" / "cat.tflite")], "is read here"),
        ([str(photos), "-o", str(other / "cat" / "0.tflite"), "--negative", str(other / "cat")], "is read here"),
        ([str(photos), "-o", str(other / "cat" / "0.tflite"), "--validation", str(other)], "is read here"),
        ([str(photos), "-o", str(tmp_path / "link.tflite")], "is read here"),
        ([str(photos), "-o", str(tmp_path / "hard.tflite")], "is read here"),
        ([str(photos), "-o", str(tmp_path / "own.tflite"), "--report", str(tmp_path / "link.html")], "is read here"),
    ):
        refused = aicli("train", *arguments, "-j", "1")
        assert refused.code == 2 and re.search(message, refused.err) and len(refused.err.splitlines()) == 1, refused
    assert (tmp_path / "base.tflite").read_bytes() == (photos / "cat" / "cat.tflite").read_bytes() == base
    assert not (tmp_path / "none").exists() and not (tmp_path / "own.tflite").exists()
    report = tmp_path / "link.html"
    refused = aicli("evaluate", "-m", str(tmp_path / "base.tflite"), str(photos), "--report", str(report))
    assert refused.code == 2 and "is read here" in refused.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before
    assert (tmp_path / "link.tflite").is_symlink() and (tmp_path / "hard.tflite").samefile(photos / "officer" / "1.png")


@pytest.mark.parametrize("keep", [0.0, 0.0001, 0.5, 0.999])
def test_a_damaged_base(aicli: Any, photos: Path, tmp_path: Path, keep: float) -> None:
    whole = (PROJECT / "models" / "dog_breeds.tflite").read_bytes()
    (tmp_path / "bad.tflite").write_bytes(whole[: int(keep * len(whole))])
    refused = aicli("train", str(photos), "-o", str(tmp_path / "own.tflite"), "--base", str(tmp_path / "bad.tflite"))
    assert refused.code in (1, 2) and "bad.tflite" in refused.err, refused
    assert len(refused.err.splitlines()) == 1 and not (tmp_path / "own.tflite").exists()


def test_a_full_disk(photos: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: neither the cache nor the model can be written."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20));"
        "from aicli.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "train", str(photos), "-o", str(tmp_path / "own.tflite"), "-j", "1"]
    environment = {**os.environ, "AICLI_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "File too large" in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".tflite", ".tmp")]


def test_a_full_disk_for_features_beyond_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is taken before it is used: a page that finds the disk full would end the process."""
    import resource

    module = sys.modules["aicli.training.head"]
    monkeypatch.setattr(module, "IN_MEMORY", 0)
    rows = module.rows_for(3, 1, 5)
    assert isinstance(rows, np.memmap) and rows.shape == (3, 1, 5) and not rows.any()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(AicliError, match=r"no room for the features \(File too large\)"):
            module.rows_for(1000, 1, 1280)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
