"""File systems on which ``IMG.png`` and ``img.png`` are one file: real ones, where they can be mounted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aicli._same_file import FileSet, as_listed, same_file

MADE_BY = {
    "exfat": (["mkfs.exfat", "{image}"], ["mount.exfat-fuse", "{device}", "{folder}"]),
    "ntfs": (["mkfs.ntfs", "-q", "-F", "{image}"], ["lowntfs-3g", "-o", "ignore_case", "{image}", "{folder}"]),
    "vfat": (["mkfs.vfat", "{image}"], ["mount", "-o", "loop", "{image}", "{folder}"]),
}
"""How each is made and mounted; exFAT through FUSE gives a file another inode number for each spelling."""


def run(command: list[str], **values: object) -> None:
    subprocess.run([part.format(**values) for part in command], check=True, capture_output=True)


@pytest.fixture(scope="module", params=MADE_BY)
def mounted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    make, mount = MADE_BY[request.param]
    if os.name != "posix" or os.geteuid() or not all(map(shutil.which, (make[0], mount[0], "losetup", "umount"))):
        pytest.skip(f"{request.param} cannot be mounted here")
    folder = tmp_path_factory.mktemp(request.param)
    image = folder.with_suffix(".image")
    with image.open("wb") as file:
        file.truncate(64 << 20)
    device = ""
    try:
        run(make, image=image)
        if "{device}" in mount:
            device = subprocess.check_output(["losetup", "-f", "--show", image], text=True).strip()
        run(mount, image=image, device=device, folder=folder)
    except (OSError, subprocess.CalledProcessError):
        if device:
            run(["losetup", "-d", device])
        pytest.skip(f"{request.param} cannot be mounted here")
    try:
        yield folder
    finally:
        run(["umount", "{folder}"], folder=folder)
        if device:
            run(["losetup", "-d", device])


@pytest.fixture
def folding(mounted: Path) -> Iterator[Path]:
    """An empty folder in it."""
    folder = mounted / "test"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def alike(tmp_path: Path, examples: Path) -> Path:
    """Photos whose names differ in case only, in folders of their own."""
    for folder, name in (("a", "IMG.png"), ("b", "img.png"), ("c", "Img.PNG"), ("c", "STRASSE.png")):
        (tmp_path / "in" / folder).mkdir(parents=True, exist_ok=True)
        example = "astronaut.png" if folder != "b" else "chelsea.png"
        shutil.copy(examples / example, tmp_path / "in" / folder / name)
    return tmp_path / "in"


def records(answer: Any) -> list[dict[str, Any]]:
    assert answer.code == 0, answer.err
    return [json.loads(line) for line in answer.out.splitlines()]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_every_picture_has_a_file_of_its_own(aicli: Any, folding: Path, alike: Path) -> None:
    for out in ("out", "OUT"):
        found = records(aicli("detect-faces", alike, "-o", folding / out, "--crop", folding / out, "-f", "jsonl"))
        paths = [record["output"] for record in found] + [path for record in found for path in record["crops"]]
        assert len(paths) == len({path.casefold() for path in paths}) == 7
    assert len(files(folding)) == 14


@pytest.mark.parametrize("how", ["--copy", "--move", "--link"])
def test_groups(aicli: Any, folding: Path, alike: Path, how: str) -> None:
    answer = aicli("classify", alike, "--group", folding / "groups", how, "-f", "jsonl")
    if how == "--link" and answer.code:
        assert answer.err.count("a link to it cannot lie in") == 4 and "use --copy" in answer.err
        return
    paths = [record["group"] for record in records(answer)]
    assert len({path.casefold() for path in paths}) == len(files(folding)) == 4
    if how == "--move":
        assert files(alike) == []
        return
    again = aicli("classify", alike, "--group", folding / "GROUPS", how, "-f", "jsonl")
    assert len(records(again)) == len(files(folding)) == 4, "what is there already is left alone"


def test_a_photo_in_its_group_stays(aicli: Any, folding: Path, alike: Path) -> None:
    records(aicli("classify", alike, "--group", folding / "groups", "--move", "-f", "jsonl"))
    before = {path: path.read_bytes() for path in files(folding)}
    records(aicli("classify", folding / "groups", "--group", folding / "Groups", "--move", "-f", "jsonl"))
    assert {path: path.read_bytes() for path in files(folding)} == before


def test_no_photo_of_the_input_is_replaced(aicli: Any, folding: Path, examples: Path) -> None:
    photo = folding / "in" / "Photo.png"
    photo.parent.mkdir()
    shutil.copy(examples / "astronaut.png", photo)
    content = photo.read_bytes()
    other = folding / "IN" / "PHOTO.PNG"
    for command in (
        ("detect-faces", photo, "-o", other),
        ("classify", photo.parent, "-o", other.parent, "--overwrite"),
        ("detect-faces", folding / "In", "--crop", folding / "in", "-o", folding / "in", "--overwrite"),
        ("classify", photo.parent, "--sheet", photo.parent / "photo.png"),
        ("classify", photo.parent, "-O", other),
        ("classify", photo, "-O", other, "-f", "jsonl", "--overwrite"),
        ("classify", photo, "--group", folding / "groups"),
    ):
        answer = aicli(*command)
        assert photo.read_bytes() == content, command
        assert answer.code == 0 or "which is never overwritten" in answer.err


def test_results_of_another_spelling_are_no_input(aicli: Any, folding: Path, examples: Path) -> None:
    (folding / "in" / "sorted").mkdir(parents=True)
    shutil.copy(examples / "astronaut.png", folding / "in" / "a.png")
    shutil.copy(examples / "chelsea.png", folding / "in" / "sorted" / "b.png")
    found = records(aicli("classify", folding / "in", "-o", folding / "IN" / "Sorted", "-f", "jsonl"))
    assert [Path(record["image"]).name for record in found] == ["a.png"]


def test_records_go_on_in_another_spelling(aicli: Any, folding: Path, alike: Path) -> None:
    part = folding / "R.jsonl.part"
    assert aicli("classify", alike / "a", "-O", part.with_suffix("")).code == 0
    os.rename(part.with_suffix(""), part)
    assert aicli("classify", alike, "-O", folding / "r.jsonl", "--resume").code == 0
    assert len((folding / "r.jsonl").read_text().splitlines()) == 4 and len(files(folding)) == 1


def test_one_file_under_two_spellings(folding: Path) -> None:
    (folding / "Folder").mkdir()
    (folding / "Folder" / "Name.txt").touch()
    spelled = folding / "FOLDER" / "NAME.TXT"
    assert same_file(spelled, folding / "folder" / "name.txt") and FileSet([spelled]).find(folding / "Folder/Name.txt")
    assert not same_file(spelled, folding / "Folder" / "other.txt")


def test_two_files_whose_names_differ_in_case(tmp_path: Path) -> None:
    for name in ("a.txt", "A.txt", "b.txt"):
        (tmp_path / name).touch()
    if len(os.listdir(tmp_path)) < 3:
        pytest.skip("case does not count here")
    assert not same_file(tmp_path / "a.txt", tmp_path / "A.txt")
    found = FileSet([tmp_path / "a.txt"])
    assert found.find(tmp_path / "a.txt") and not found.find(tmp_path / "A.txt") and not found.find(tmp_path / "c.txt")
    assert as_listed(str(tmp_path / "B.txt")) == str(tmp_path / "b.txt")
