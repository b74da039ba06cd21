"""What the commands print, their exit codes and their errors."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from aicli import __version__
from tests.wasm.hostile import guest_text, wat


def test_text_is_the_best_label_only(aicli: Any, examples: Path, runtime: str) -> None:
    photo = examples / "grace_hopper.jpg"
    result = aicli("classify", photo, "--runtime", runtime)
    path, label, score = result.out.rstrip("\n").split("\t")
    assert (result.code, path, label, result.err) == (0, str(photo), "military uniform", "")
    assert 0 < float(score) < 1
    assert aicli("classify", photo, "-k", 3, "--runtime", runtime).out.count("\n") == 3


def test_formats_agree(aicli: Any, examples: Path) -> None:
    photo = examples / "grace_hopper.jpg"
    (line,) = aicli("classify", photo, "-f", "jsonl").out.splitlines()
    record = json.loads(line)
    assert record["predictions"][0]["label"] == "military uniform"
    assert {"index", "label", "score", "confidence"} <= set(record["predictions"][0])
    assert json.loads(aicli("classify", photo, "-f", "json").out) == [record]
    rows = list(csv.DictReader(io.StringIO(aicli("classify", photo, "-f", "csv").out)))
    assert [row["label"] for row in rows] == [item["label"] for item in record["predictions"]]
    assert "military uniform" in aicli("classify", photo, "-f", "table").out


def test_faces_come_with_box_score_and_landmarks(aicli: Any, examples: Path, runtime: str) -> None:
    result = aicli("detect-faces", examples / "astronaut.png", "-f", "jsonl", "--runtime", runtime)
    record = json.loads(result.out)
    (face,) = record["faces"]
    assert (record["width"], record["height"]) == (512, 512)
    assert face["box"] == pytest.approx([179, 60, 268, 175], abs=6)
    assert face["landmarks"]["left_eye"][0] < face["landmarks"]["right_eye"][0]


def test_no_face_is_an_answer(aicli: Any, examples: Path) -> None:
    result = aicli("detect-faces", examples / "chelsea.png", "-f", "jsonl")
    assert (result.code, json.loads(result.out)["faces"]) == (0, [])


def test_min_score_and_max_faces(aicli: Any, shared: Path) -> None:
    photo = shared / "images" / "solvay.jpg"
    everyone = json.loads(aicli("detect-faces", photo, "-f", "jsonl").out)["faces"]
    assert len(everyone) in (29, 30)
    best = json.loads(aicli("detect-faces", photo, "-f", "jsonl", "--max-faces", 3).out)["faces"]
    assert best == everyone[:3]
    sure = json.loads(aicli("detect-faces", photo, "-f", "jsonl", "--min-score", 0.99).out)["faces"]
    assert sure == [face for face in everyone if face["score"] >= 0.99]


def test_a_folder_is_answered_in_natural_order_with_its_failures(aicli: Any, photos: Path) -> None:
    result = aicli("classify", photos, "-f", "jsonl")
    records = [json.loads(line) for line in result.out.splitlines()]
    assert [Path(record["image"]).name for record in records] == [
        *("broken.jpg", "astronaut.png", "img2.png", "img10.jpg"),
    ]
    assert result.code == 1
    assert "error" in records[0] and "predictions" in records[1]
    failure, summary = result.err.splitlines()
    assert failure.startswith(f"aicli: {photos / 'broken.jpg'}: ") and "truncated" in failure
    assert "4 images" in summary and "1 failed" in summary


@pytest.mark.parametrize(
    "content", [None, b"", b"hello, this is text", b"PK\x03\x04 a zip", b"\xff\xd8\xff\xe0 broken"], ids=repr
)
def test_what_is_no_image_gets_one_line(aicli: Any, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "odd.jpg"
    if content is not None:
        path.write_bytes(content)
    result = aicli("classify", path)
    assert (result.code, result.out, result.err.count("\n")) == (1, "", 1)
    assert str(path) in result.err and "Traceback" not in result.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["classify"], "no image was given"),
        (["classify", "a.jpg", "--nonsense"], "--nonsense"),
        (["clasify", "a.jpg"], "clasify"),
        (["classify", "-k", "many", "a.jpg"], "'many' is not a valid integer. (see 'aicli classify --help')"),
        (["models", "add", "x", "--license"], "(see 'aicli models add --help')"),
        (["run", "f.wasm", "--call", "add", "-5"], "What is for the guest goes behind a --. (see 'aicli run"),
        (["completion"], "Choose from: bash, zsh, fish (see"),
        ([__file__], "is a file, not a command; did you mean: aicli classify "),
        ([os.path.dirname(__file__)], "is a folder, not a command;"),
        (["classify", "a.jpg", "-O", "x.xlsx"], "x.xlsx: its suffix names no format of results; the suffixes .json, "),
        (["classify", "a.jpg", "-m", "eficientnet_lite0"], "did you mean"),
        (["classify", "a.jpg", "-m", "nowhere.tflite"], "nowhere.tflite"),
        (["classify", "a.jpg", "-m", "mtcnn"], "detect-faces"),
        (["classify", "a.jpg", "--runtime", "v8"], "v8"),
        (["classify", "a.jpg", "-0"], "--files-from"),
        (["classify", "a.jpg", "--resume"], "--output-file"),
        (["classify", "a.jpg", "--resume", "-O", "x.txt"], "--resume"),
        (["classify", "a.jpg", "--dry-run"], "--group"),
        (["classify", "a.jpg", "--group", __file__, "--dry-run"], "test_answers.py: a file; --group takes a folder"),
        (["classify", "a.jpg", "--guest-memory", "much"], "'much' is not a size; write it as 256M or 1G"),
        (["classify", "a.jpg", "b.jpg", "-o", "out.png"], "folder"),
        (["detect-faces", "a.jpg", "--blur"], "-o"),
        (["detect-faces", "a.jpg", "--blur", "-o", "o/", "--color", "red"], "--landmarks or --scores beside --blur"),
        (["detect-faces", "a.jpg", "-o", "out.gif"], ".png"),
        (["detect-faces", "a.jpg", "-o", "out.png", "--color", "grue"], "grue"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(aicli: Any, arguments: list[str], word: str) -> None:
    result = aicli(*arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
    assert word in result.err


def test_a_photo_whose_name_begins_with_a_dash(aicli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-dash.jpg").touch()
    result = aicli("classify", "-dash.jpg")
    assert result.code == 2 and " A file of this name is written ./-dash.jpg. (see" in result.err


def test_a_wrong_model_leaves_no_header_behind(aicli: Any, photos: Path) -> None:
    result = aicli("classify", *[photos / "img2.png"] * 6, "-f", "csv", "-m", "nothing", "-j", 2)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("(module)", 2, "memory"),
        ('(module (memory (export "memory") 1))', 2, "aicli_"),
        (guest_text("(i32.const 16)", version=7), 2, "ABI version 7"),
        (guest_text("unreachable", memory="64"), 1, "trap"),
        ('(module (import "env" "f" (func)) (memory (export "memory") 1))', 2, "guest"),
    ],
    ids=["empty", "no exports", "wrong version", "trap", "foreign import"],
)
def test_a_guest_that_cannot_serve(
    aicli: Any, examples: Path, tmp_path: Path, runtime: str, text: str, code: int, word: str
) -> None:
    guest = tmp_path / "guest.wasm"
    guest.write_bytes(wat(text))
    photo = examples / "chelsea.png"
    result = aicli("classify", photo, "--guest", guest, "--runtime", runtime, "--trust-guest")
    assert (result.code, result.out, result.err.count("\n")) == (code, "", 1), result.err
    assert word in result.err


def test_standard_input(aicli: Any, examples: Path) -> None:
    result = aicli("classify", "-", stdin=(examples / "chelsea.png").read_bytes())
    assert (result.code, result.out.split("\t")[0]) == (0, "-")
    assert aicli("classify", "-", stdin=b"").code == 1


def test_names_from_a_list(aicli: Any, photos: Path) -> None:
    odd = photos / 'new\nline "quoted" \N{SNOWMAN}.png'
    (photos / "img2.png").rename(odd)
    result = aicli("classify", "-0", "--files-from", "-", "-f", "jsonl", stdin=f"{odd}\0".encode())
    assert (result.code, json.loads(result.out)["image"]) == (0, str(odd))
    assert aicli("classify", odd).out.count("\n") == 1


def test_version_help_and_info(aicli: Any, runtime: str) -> None:
    assert aicli("--version").out.split()[-1] == __version__
    assert aicli("--help").code == 0
    facts = json.loads(aicli("info", "-f", "json").out)
    assert facts["aicli"] == __version__ and facts[f"runtime {runtime}"] != "not installed"


def test_a_closed_pipe_is_a_quiet_end(spawn: Any, photos: Path) -> None:
    process = spawn("classify", *[photos / "img2.png"] * 4, "-f", "jsonl", "-k", 1000)
    process.stdout.read(10)
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), error) == (0, b"")
