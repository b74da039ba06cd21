"""No run takes a file from its owner: names that the program chose, photos of the input, links, moves."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aicli._files import publish
from aicli.cli.batch.pictures import Names
from aicli.cli.batch.sources import Sources
from aicli.options import InputOptions
from aicli.output.pictures.places import Place, write_crops, write_picture

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs links and other file systems")
SOURCES = ("a", "linked", "list", "slow")
SHM = Path("/dev/shm")


@pytest.fixture
def two(tmp_path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders a and b with a photo of the same name each."""
    monkeypatch.chdir(tmp_path)
    for folder, example in (("a", "grace_hopper.jpg"), ("b", "astronaut.png")):
        Path(folder).mkdir()
        with Image.open(examples / example) as image:
            image.convert("RGB").resize((256, 300)).save(Path(folder, "x.jpg"))
    return tmp_path


def snapshot(*folders: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for folder in folders for path in Path(folder).rglob("*") if path.is_file()}


def names_in(folder: str) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("options", [("-o", "out/"), ("--crop", "out")])
def test_a_second_run_takes_the_next_number(aicli: Any, two: Path, options: tuple[str, ...]) -> None:
    Path("out").mkdir()
    mine = "out/x.jpg" if options[0] == "-o" else "out/x.face1.jpg"
    Path(mine).write_text("somebody else's")
    written: list[Any] = []
    for folder in ("a", "b", "a"):
        record = json.loads(aicli("detect-faces", folder, *options, "-f", "jsonl").out)
        written += record.get("crops") or [record["output"]]
    assert len(set(written)) == 3 and Path(mine).read_text() == "somebody else's"
    assert len(names_in("out")) == 4
    aicli("detect-faces", "a", *options, "--overwrite")
    assert len(names_in("out")) == 4 and Path(mine).stat().st_size > 1000


def test_labelled_photos_take_the_next_number_too(aicli: Any, two: Path) -> None:
    for folder in ("a", "b"):
        aicli("classify", folder, "-o", "out")
    assert names_in("out") == ["x-2.jpg", "x.jpg"]


def test_photos_that_are_added_leave_finished_pictures_alone(aicli: Any, two: Path) -> None:
    for suffix in ("jsonl", "csv"):
        out = f"out-{suffix}"
        aicli("detect-faces", "b", "-o", out, "--blur", "-O", f"r.{suffix}")
        before = snapshot(out)
        aicli("detect-faces", "a", "b", "-o", out, "--blur", "-O", f"r.{suffix}", "--resume")
        assert {path: data for path, data in snapshot(out).items() if path in before} == before
        assert names_in(out) == ["x-2.jpg", "x.jpg"]


@pytest.mark.parametrize("option", ["-O", "-o", "--sheet"])
@pytest.mark.parametrize("read", ["--model", "--labels", "--guest"])
def test_what_a_run_reads_is_no_place_for_its_results(aicli: Any, two: Path, option: str, read: str) -> None:
    Path("mine.png").write_text("mine")
    result = aicli("classify", "a/x.jpg", read, "mine.png", "-f", "json", option, "./mine.png")
    assert result.code == 2 and f"./mine.png: this run reads it as {read}; choose another {option}" in result.err
    assert Path("mine.png").read_text() == "mine"


@pytest.mark.parametrize(("first", "second"), [("-o", "--sheet"), ("-O", "--sheet"), ("-O", "-o")])
def test_two_results_have_two_names(aicli: Any, two: Path, first: str, second: str) -> None:
    os.symlink(".", "here")
    for task in ("classify", "detect-faces"):
        result = aicli(task, "a/x.jpg", "-f", "jsonl", first, "x.png", second, "here/x.png")
        said = f"here/x.png: both {first} and {second} would be written there; choose another {second}"
        assert (result.code, result.out) == (2, "") and said in result.err
        assert not os.path.exists("x.png")


@posix
def test_a_device_holds_two_results(aicli: Any, two: Path) -> None:
    os.symlink(os.devnull, "null.png")
    result = aicli("detect-faces", "a/x.jpg", "-f", "jsonl", "-O", os.devnull, "-o", "null.png", "--sheet", "null.png")
    assert result.code == 0, result.err


def test_a_link_that_cannot_be_read_is_compared_as_it_is(aicli: Any, two: Path, monkeypatch: Any) -> None:
    real = os.path.realpath

    def denied(path: Any, **more: Any) -> str:
        if "locked" in os.fspath(path):
            raise PermissionError(path)
        return real(path, **more)

    monkeypatch.setattr(os.path, "realpath", denied)
    result = aicli("classify", "a/x.jpg", "-f", "jsonl", "-O", "locked.png", "--sheet", "locked.png")
    assert result.code == 2 and "both -O and --sheet" in result.err


@pytest.mark.skipif(sys.platform != "linux", reason="needs names that are no text")
@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_name_that_is_no_text_is_known_again(aicli: Any, two: Path, suffix: str) -> None:
    odd = os.fsdecode(b"b/\xe9t\xe9.jpg")
    os.rename("b/x.jpg", odd)
    file = f"r.{suffix}"
    options = ("-o", "out", "-O", file, "--sheet", "sheet.png")
    assert aicli("detect-faces", "b", *options).code == 0
    before = snapshot("out")
    again = aicli("detect-faces", "a", "b", *options, "--resume")
    assert (again.code, again.err.count("note")) == (0, 1 if suffix == "csv" else 0), again.err
    assert {path: data for path, data in snapshot("out").items() if path in before} == before
    assert len(names_in("out")) == 2
    if suffix != "parquet":
        text = Path(file).read_text("utf-8")
        name = (
            text.splitlines()[1].partition(",")[0] if suffix == "csv" else json.loads(text.partition("\n")[0])["image"]
        )
        assert name == r"b/\xe9t\xe9.jpg"


@pytest.mark.parametrize("options", [("-o", "a"), ("--crop", "a"), ("-o", "a", "--overwrite"), ("-o", "a/x.jpg")])
def test_a_photo_of_the_input_keeps_its_name(aicli: Any, two: Path, options: tuple[str, ...]) -> None:
    shutil.copy("b/x.jpg", "a/x.face1.jpg")
    before = snapshot("a")
    aicli("detect-faces", "a", *options)
    assert {path: data for path, data in snapshot("a").items() if path in before} == before


@posix
@pytest.mark.parametrize("link", ["a/x.jpg", "soft.jpg", "hard.jpg", "folder/x.jpg", "a/../a/x.jpg"])
@pytest.mark.parametrize(
    ("option", "source"),
    [("-o", "a/x.jpg"), *((option, name) for option in ("--sheet", "-O") for name in ("a/x.jpg", *SOURCES))],
)
def test_no_way_leads_over_a_photo_of_the_input(aicli: Any, two: Path, option: str, link: str, source: str) -> None:
    os.symlink("a/x.jpg", "soft.jpg")
    os.link("a/x.jpg", "hard.jpg")
    os.symlink("a", "folder")
    Path("linked").mkdir()
    os.symlink("../a/x.jpg", "linked/y.jpg")
    Path("list").write_text("a/x.jpg\n")
    before = Path("a/x.jpg").read_bytes()
    images = {"list": ("--files-from", "list"), "slow": ("--files-from", "-")}.get(source, (source,))
    stdin = b"a/x.jpg\n" if source == "slow" else b""
    line = ("classify", "-f", "text") if option == "-O" else ("detect-faces",)
    result = aicli(*line, *images, option, link, stdin=stdin)
    assert result.code == 2 and "photo of the input" in result.err and link in result.err
    assert Path("a/x.jpg").read_bytes() == before


@posix
def test_a_link_in_the_folder_of_results_is_not_written_through(aicli: Any, two: Path) -> None:
    before = snapshot("a")
    aicli("classify", "a", "--group", "sorted", "--link")
    (folder,) = Path("sorted").iterdir()
    for more in ((), ("--overwrite",)):
        assert aicli("detect-faces", "b", "-o", folder, *more).code == 0
        assert snapshot("a") == before
    assert not (folder / "x.jpg").is_symlink() and (folder / "x-2.jpg").is_file()


def test_records_of_a_run_that_was_broken_off_are_kept(aicli: Any, two: Path) -> None:
    part = Path("r.jsonl.part")
    part.write_text('{"image": "z.jpg"}\n')
    result = aicli("classify", "a", "-O", "r.jsonl")
    assert result.code == 2 and "--resume" in result.err and "--overwrite" in result.err
    assert aicli("classify", "a", "-O", "r.jsonl", "--overwrite").code == 0
    assert Path("r.jsonl").read_text().count("\n") == 1 and not part.exists()
    part.write_text("a diary")
    for more in ("--resume", "--overwrite"):
        assert aicli("classify", "a", "-O", "r.jsonl", more).code == 2
    assert part.read_text() == "a diary"
    Path("r.jsonl.plan").write_text("a diary")
    part.unlink()
    assert aicli("detect-faces", "a", "-o", "out", "-O", "r.jsonl").code == 2
    assert Path("r.jsonl.plan").read_text() == "a diary"


def test_names_differ_by_more_than_case_and_composition(two: Path) -> None:
    Path("out").mkdir()
    names = Names(Sources(InputOptions(images=("a",))), overwrite=False)
    asked = ["a.jpg", "a.jpg", "A.JPG", "a-2.jpg", "b.tar.gz", "b.tar.gz", "none", "none", "\u00e9.jpg", "e\u0301.jpg"]
    assert [names.choose("out", name) for name in asked] == [1, 2, 3, 2, 1, 2, 1, 2, 1, 2]
    assert names.choose("other", "a.jpg") == 1
    assert [names.choose("out", "x", stem=True), names.choose("out", "x.face7.jpg")] == [1, 2]


def test_a_name_that_is_taken_meanwhile_is_left(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_text("new")
    (tmp_path / "c.face2.jpg").write_text("new")
    place = Place(str(tmp_path), "x.jpg", 1, ".part")
    assert write_picture(b"data", place) == str(tmp_path / "x-2.jpg")
    assert write_picture(b"data", place.replace(number=2, when_taken="compare")) == str(tmp_path / "x-2.jpg")
    crops = write_crops([(1, b"one"), (2, b"two")], Place(str(tmp_path), "c", 1, ".part"))
    assert crops == [str(tmp_path / f"c-2.face{face}.jpg") for face in (1, 2)]
    assert names_in(str(tmp_path)) == ["c-2.face1.jpg", "c-2.face2.jpg", "c.face2.jpg", "x-2.jpg", "x.jpg"]


@posix
def test_without_hard_links_no_file_is_replaced_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    (tmp_path / "part").write_text("new")
    (tmp_path / "there").write_text("old")
    assert not publish(str(tmp_path / "part"), str(tmp_path / "there"))
    assert publish(str(tmp_path / "part"), str(tmp_path / "free"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"there": "old", "free": "new"}


@posix
def test_a_link_that_is_moved_still_leads_to_its_photo(aicli: Any, two: Path) -> None:
    Path("links").mkdir()
    os.symlink("../a/x.jpg", "links/y.jpg")
    os.symlink("x.jpg", "b/v.jpg")  # its photo is moved too
    before = {"y.jpg": Path("a/x.jpg").read_bytes(), "v.jpg": Path("b/x.jpg").read_bytes()}
    assert aicli("classify", "links", "b", "--group", "sorted", "--move").code == 0
    for name, data in before.items():
        (moved,) = Path("sorted").rglob(name)
        assert moved.read_bytes() == data and moved.is_symlink() == (name == "y.jpg")
    assert not os.listdir("links") and not os.listdir("b")


@posix
@pytest.mark.skipif(not SHM.is_dir() or not os.access(SHM, os.W_OK), reason="needs another file system")
def test_a_move_to_another_file_system_is_whole_or_undone(aicli: Any, two: Path, monkeypatch: Any) -> None:
    if SHM.stat().st_dev == two.stat().st_dev:
        pytest.skip("needs another file system")
    target = SHM / f"aicli-test-{os.getpid()}"
    before = snapshot("a", "b")
    try:
        real = shutil.copyfileobj

        def full(source: Any, to: Any, *_: Any) -> None:
            to.write(source.read(100))
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(shutil, "copyfileobj", full)
        monkeypatch.setattr(shutil, "_USE_CP_SENDFILE", False)
        result = aicli("classify", "a", "b", "--group", target, "--move")
        assert result.code == 1 and result.err.count("No space left") == 2
        assert snapshot("a", "b") == before and not [path for path in target.rglob("*") if path.is_file()]
        monkeypatch.setattr(shutil, "copyfileobj", real)
        assert aicli("classify", "a", "b", "--group", target, "--move").code == 0
        assert sorted(snapshot(str(target)).values()) == sorted(before.values()) and not snapshot("a", "b")
    finally:
        shutil.rmtree(target, ignore_errors=True)


def test_a_list_in_a_pipe_is_read_once(aicli: Any, two: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"a/x.jpg\nb/x.jpg\n")
    os.close(writer)
    result = aicli("classify", "--files-from", f"/dev/fd/{reader}", "-O", "r.jsonl")
    os.close(reader)
    assert result.code == 0 and Path("r.jsonl").read_text().count("\n") == 2
