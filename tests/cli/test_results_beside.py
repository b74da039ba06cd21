"""Pictures, crops, groups and contact sheets: the files that the commands write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aicli.cli.batch.grouping import folder_name


def pixels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_one_picture(aicli: Any, examples: Path, tmp_path: Path, runtime: str) -> None:
    photo, out = examples / "astronaut.png", tmp_path / "out.png"
    arguments = ("--color", "#ff00ff", "--line-width", 3, "--runtime", runtime)
    record = json.loads(aicli("detect-faces", photo, "-o", out, "-f", "jsonl", *arguments).out)
    assert record["output"] == str(out)
    changed = (pixels(out) != pixels(photo)).any(axis=2)
    assert (pixels(out)[changed] == [255, 0, 255]).all() and 500 < changed.sum() < 3000


def test_a_folder_of_pictures_keeps_names_and_solves_collisions(aicli: Any, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "img2.png", photos / "deep" / "img2.png")
    out = tmp_path / "out"
    result = aicli("detect-faces", photos, "-o", out, "-f", "jsonl", "-j", 2)
    assert result.code == 1
    assert sorted(path.name for path in out.iterdir()) == ["astronaut.png", "img10.jpg", "img2-2.png", "img2.png"]


def test_a_folder_of_results_inside_the_input_is_no_input(aicli: Any, photos: Path) -> None:
    for _ in range(2):
        result = aicli("detect-faces", photos, "-o", photos / "boxed", "-f", "jsonl")
        assert result.out.count("\n") == 4


@pytest.mark.parametrize("output", ["img2.png", "."])
def test_the_input_is_never_overwritten(aicli: Any, photos: Path, output: str) -> None:
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    aicli("detect-faces", photos / "img2.png", "-o", photos / output)
    aicli("classify", photos, "-o", f"{photos}/")
    assert aicli("classify", photos / "img2.png", "-O", photos / "deep" / ".." / "img2.png").code == 2
    assert aicli("detect-faces", photos / "img2.png", "--sheet", photos / "img2.png").code == 2
    assert {path: path.read_bytes() for path in photos.rglob("*") if path in before} == before


def test_anonymised_faces_are_gone_and_so_is_the_exif(aicli: Any, examples: Path, tmp_path: Path) -> None:
    photo = tmp_path / "in.jpg"
    with Image.open(examples / "astronaut.png") as image:
        exif = Image.Exif()
        exif[0x010F] = "camera"
        image.convert("RGB").save(photo, exif=exif, quality=95)
    for method in ("--blur", "--pixelate"):
        out = tmp_path / f"{method}.jpg"
        assert aicli("detect-faces", photo, "-o", out, method).code == 0
        with Image.open(out) as image:
            assert not image.getexif()
        assert abs(pixels(out)[70:170, 185:265] - pixels(photo)[70:170, 185:265]).mean() > 10
        assert json.loads(aicli("detect-faces", out, "-f", "jsonl").out)["faces"] == []
    kept = tmp_path / "kept.jpg"
    aicli("detect-faces", photo, "-o", kept)
    with Image.open(kept) as image:
        assert image.getexif()[0x010F] == "camera"


@pytest.mark.parametrize("kind", ["png", "webp", "frames.webp"])
def test_faces_of_a_transparent_photo_on_its_side_are_hidden_where_they_are(
    aicli: Any, examples: Path, tmp_path: Path, kind: str
) -> None:
    photo, out = tmp_path / f"photo.{kind}", tmp_path / f"out.{kind}"
    with Image.open(examples / "astronaut.png") as image:
        upright = image.convert("RGBA").crop((0, 0, 500, 400))
    upright.putpixel((0, 399), (0, 0, 0, 0))
    exif, stored = Image.Exif(), upright.transpose(Image.Transpose.ROTATE_90)
    exif[0x0112] = 6
    if "." in kind:
        darker = stored.point(lambda value: value // 2)
        stored.save(photo, exif=exif, lossless=True, save_all=True, append_images=[darker])
    else:
        stored.save(photo, exif=exif, lossless=True)
    options = ("--cover", "solid", "--margin", 0, *(("--all-frames",) if "." in kind else ()))
    assert aicli("detect-faces", photo, "-o", out, *options).code == 0
    seen = pixels(out)
    assert seen.shape == (400, 500, 3)
    assert seen[66:168, 184:262].max() < 30, "the face"
    changed = abs(seen - np.asarray(upright.convert("RGB")).astype(int)).mean(axis=2)
    changed[55:180, 170:275] = 0
    changed[399, 0] = 0
    assert changed.mean() < 4, "nothing else"


def test_each_face_as_a_file(aicli: Any, examples: Path, tmp_path: Path) -> None:
    crops = tmp_path / "faces"
    result = aicli("detect-faces", examples, "--crop", crops, "--align", "--margin", 0.5, "-f", "jsonl")
    written = [path for line in result.out.splitlines() for path in json.loads(line)["crops"]]
    assert sorted(written) == sorted(map(str, crops.iterdir()))
    with Image.open(crops / "astronaut.face1.jpg") as image:
        assert image.width == image.height > 150


@pytest.mark.parametrize("how", ["copy", "move", "link"])
def test_groups(aicli: Any, photos: Path, tmp_path: Path, how: str) -> None:
    root, content = tmp_path / "sorted", (photos / "img10.jpg").read_bytes()
    plan = aicli("classify", photos, "--group", root, f"--{how}", "--dry-run")
    assert f"would {how}" in plan.err and not root.exists()
    result = aicli("classify", photos, "--group", root, f"--{how}", "-f", "jsonl")
    target = root / "military uniform" / "img10.jpg"
    assert json.loads(result.out.splitlines()[-1])["group"] == str(target)
    assert target.is_symlink() == (how == "link") and target.read_bytes() == content
    assert (photos / "img10.jpg").exists() == (how != "move")
    if how != "move":
        aicli("classify", photos, "--group", root, f"--{how}")  # a second run adds nothing
        assert len([path for path in root.rglob("*.*") if path.name.startswith("img10")]) == 1


@pytest.mark.parametrize(
    ("label", "name"), [("a/b\\c", "a_b_c"), ("..", "unlabelled"), ("con", "con_"), ("x\n", "x_"), ("é ", "é")]
)
def test_labels_as_folders(label: str, name: str) -> None:
    assert folder_name(label) == name


def test_contact_sheets(aicli: Any, examples: Path, tmp_path: Path) -> None:
    """The sheet of one photo shows that photo: its colours are the photo's, seen small."""
    photo = examples / "chelsea.png"
    with Image.open(photo) as image:
        wanted = image.convert("RGB").resize((24, 16), Image.Resampling.BOX)
    for command in ("classify", "detect-faces"):
        sheet = tmp_path / f"{command}.png"
        aicli(command, photo, "--sheet", sheet)
        with Image.open(sheet) as image:
            shown = image.convert("RGB")
        background = np.asarray(shown)[0, 0]
        rows, columns = np.nonzero((np.asarray(shown) != background).any(axis=2))
        left, right = columns.min(), columns.max() + 1
        side = right - left  # of the square that the photo lies in the middle of
        height = round(side * 300 / 451)
        top = rows.min() + (side - height) // 2
        found = shown.crop((left, top, right, top + height)).resize((24, 16), Image.Resampling.BOX)
        assert abs(np.asarray(found).astype(int) - np.asarray(wanted)).mean() < 12, command


def test_a_label_on_the_photo(aicli: Any, examples: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.webp"
    assert aicli("classify", examples / "chelsea.png", "-o", out).code == 0
    before, after = pixels(examples / "chelsea.png"), pixels(out)
    assert after.shape == before.shape
    rows = np.nonzero((abs(after - before) > 100).any(axis=2).sum(axis=1) > 5)[0]
    assert 10 < rows.max() - rows.min() < 60, "the label is a strip of text"
    untouched = np.delete(abs(after - before), np.s_[rows.min() - 20 : rows.max() + 20], axis=0)
    assert untouched.mean() < 8, "the rest is the photo as it was"
