"""The contact sheet of a run that goes on with another one shows the photos of both, as one run would have."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

CASES = [
    (("classify",), "jsonl"),
    (("classify", "-j", "2"), "csv"),
    (("classify", "--group", "groups", "--move"), "jsonl"),
    (("classify", "-k", "2", "--group", "groups", "--move"), "csv"),
    (("detect-faces", "--group", "groups", "--move"), "csv"),
    (("detect-faces", "--color", "red"), "csv"),
    (("detect-faces", "-o", "out/", "-j", "2"), "jsonl"),
    (("detect-faces", "-o", "out/", "--blur"), "csv"),
    (("detect-faces", "--all-frames"), "csv"),
]


def make(root: Path, examples: Path, numbers: range) -> None:
    (root / "photos").mkdir(parents=True, exist_ok=True)
    for number in numbers:
        example = ("astronaut.png", "grace_hopper.jpg", "chelsea.png")[number % 3]
        with Image.open(examples / example) as image:
            photo = ImageEnhance.Brightness(image.convert("RGB").resize((150, 170))).enhance(0.8 + 0.05 * number)
        photo.save(root / "photos" / f"{number}.png")


@pytest.mark.parametrize(("options", "suffix"), CASES, ids=lambda value: "-".join(value).replace("/", ""))
def test_resumed_sheet(
    aicli: Any, tmp_path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], suffix: str
) -> None:
    command, *more = options
    sheets = []
    for name, steps in (("once", [range(7)]), ("twice", [range(3), range(7)])):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        for numbers in steps:
            new = range(3, 7) if len(steps) > 1 and numbers == range(7) else numbers
            make(tmp_path / name, examples, new)
            records = "r.jsonl" if suffix == "jsonl" else "r.csv"
            run = ("photos", *more, "-O", records, "--resume", "--sheet", "sheet.png", "-q")
            answer = aicli(command, *run)
            assert (answer.code, answer.err) == (0, "")
        with Image.open("sheet.png") as sheet:
            sheets.append(np.asarray(sheet.convert("RGB")))
    assert sheets[0].shape == sheets[1].shape
    assert np.array_equal(sheets[0], sheets[1])


def test_photos_that_are_gone_are_counted(aicli: Any, photos: Path, tmp_path: Path) -> None:
    records, sheet = tmp_path / "r.jsonl", tmp_path / "sheet.png"
    (photos / "broken.jpg").unlink()
    assert aicli("classify", photos, "-O", records).code == 0
    (photos / "img2.png").unlink()
    text = records.read_text()
    records.write_text(text.replace('"predictions"', '"somebody edited this"', 1))
    answer = aicli("classify", photos, "-O", records, "--resume", "--sheet", sheet)
    assert answer.code == 0
    assert (
        "note: 2 photos that were answered before cannot be read any more; the contact sheet is without" in answer.err
    )
    with Image.open(sheet) as picture:
        assert picture.width < 2 * 240
    assert records.read_text() == text.replace('"predictions"', '"somebody edited this"', 1)


def test_a_csv_is_continued_with_its_own_columns(aicli: Any, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").unlink()
    records = tmp_path / "r.csv"
    for first, then in (((), ("--group", tmp_path / "a")), (("--group", tmp_path / "b"), ())):
        records.unlink(missing_ok=True)
        (photos / "img2.png").rename(tmp_path / "later.png")
        assert aicli("classify", photos, "-O", records, *first).code == 0
        (tmp_path / "later.png").rename(photos / "img2.png")
        assert aicli("classify", photos, "-O", records, "--resume", *then).code == 0
        header, *rows = csv.reader(io.StringIO(records.read_text(), newline=""))
        assert ("group" in header) == bool(first) and rows[-1][0].endswith("img2.png")
        assert {len(row) for row in rows} == {len(header)}
