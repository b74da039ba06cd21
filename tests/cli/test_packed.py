"""Photos that are no files of their own: members of archives, objects in buckets, rows of a Parquet column."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture
def expected(aicli: Any, photos: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The records of the photos as plain files, by their names inside the folder."""
    monkeypatch.chdir(photos)
    return {record["image"].removeprefix("./"): record for record in records(aicli("classify", ".", "-f", "jsonl"))}


def records(result: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.out.splitlines()]


def same(record: dict[str, Any], plain: dict[str, Any]) -> bool:
    """Whether two records say the same of a photo, apart from its name."""
    if "error" in plain:
        return plain["error"].removeprefix(plain["image"]) == record["error"].removeprefix(record["image"])
    return {**record, "image": ""} == {**plain, "image": ""}


def compare(found: list[dict[str, Any]], expected: dict[str, Any], start: str) -> None:
    assert {record["image"] for record in found} == {start + name for name in expected}
    assert len(found) == len(expected)
    for record in found:
        assert same(record, expected[record["image"].removeprefix(start)]), record


def pack(photos: Path, path: Path) -> None:
    files = sorted(file for file in photos.rglob("*") if file.is_file())
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.relative_to(photos))
            archive.writestr("__MACOSX/img2.png", b"x")
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
            for file in files:
                archive.add(file, f"./{file.relative_to(photos)}")


@pytest.mark.parametrize("name", ["shard.tar", "shard.tgz", "shard.zip"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_archives_are_read_like_folders(
    aicli: Any, photos: Path, tmp_path: Path, expected: dict[str, Any], name: str, jobs: int
) -> None:
    archive = tmp_path / name
    pack(photos, archive)
    result = aicli("classify", archive, "-f", "jsonl", "-j", jobs)
    assert result.code == 1, "one photo is broken"
    compare(records(result), expected, f"{archive}/")


@pytest.mark.parametrize("name", ["odd.tar", "odd.zip"])
def test_odd_members_are_answered_refused_or_counted(aicli: Any, examples: Path, tmp_path: Path, name: str) -> None:
    photo, archive = (examples / "chelsea.png").read_bytes(), tmp_path / name
    plain = ["ok.png", "/rooted.png", "./ok.png"]
    unseen = {"../out.png": "outside the archive", "a/.b/x.png": "hidden", ".c.png": "hidden"}
    silent = ["__MACOSX/x.png", "a/._x.png", ".notes"]
    if name.endswith("zip"):
        with zipfile.ZipFile(archive, "w") as zipped:
            for member in [*plain, *unseen, *silent, "folder.png/"]:
                zipped.writestr(member, photo if member[-1] != "/" else b"")
            link = zipfile.ZipInfo("link.png")
            link.external_attr = 0o120777 << 16
            zipped.writestr(link, "ok.png")
    else:
        with tarfile.open(archive, "w") as tar:
            for member in [*plain, *unseen, *silent]:
                info = tarfile.TarInfo(member)
                info.size = len(photo)
                tar.addfile(info, io.BytesIO(photo))
            for member, kind in (("folder.png", tarfile.DIRTYPE), ("link.png", tarfile.SYMTYPE), ("pipe.png", b"6")):
                info = tarfile.TarInfo(member)
                info.type, info.linkname = kind, "ok.png"
                tar.addfile(info)
    result = aicli("classify", archive, "-f", "jsonl", "-v")
    answered = [record["image"] for record in records(result) if "error" not in record]
    assert answered == [f"{archive}/ok.png", f"{archive}/rooted.png", f"{archive}/ok.png"]
    refused = {record["image"]: record["error"] for record in records(result) if "error" in record}
    assert "a link" in refused.pop(f"{archive}/link.png")
    if name.endswith("tar"):
        assert refused.pop(f"{archive}/pipe.png").endswith("a device or a named pipe, not a file")
    assert refused == {}
    for member, why in unseen.items():
        assert f"{archive}/{member}: passed over, {why}; unpack it and name it to have it tried\n" in result.err
    assert result.err.count("passed over, ") == 3
    assert result.err.endswith("3 files passed over (2 hidden, 1 outside the archive)\n")
    assert "passed over" not in aicli("classify", archive, "-q").err


def test_archives_in_lists_and_folders_and_with_pictures(
    aicli: Any, photos: Path, tmp_path: Path, expected: dict[str, Any]
) -> None:
    archive = tmp_path / "shards" / "a.tar"
    archive.parent.mkdir()
    pack(photos, archive)
    names = tmp_path / "names.txt"
    names.write_text(f"{archive}\n{archive.parent}\n")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    if (child := os.fork()) == 0:
        pipe.write_text(f"{archive}\n")
        os._exit(0)
    slow = aicli("classify", "--files-from", pipe, "-f", "jsonl", "-j", 2)
    os.waitpid(child, 0)
    compare(records(slow), expected, f"{archive}/")

    chosen = aicli("classify", "--files-from", names, "--include", "*.tar", "-f", "jsonl", "-j", 2)
    assert len(records(chosen)) == 2 * len(expected)
    out = tmp_path / "out"
    aicli("detect-faces", archive, "-o", f"{out}/")
    assert sorted(os.listdir(out)) == ["astronaut.png", "img10.jpg", "img2.png"]
    one = aicli("detect-faces", archive, "-o", tmp_path / "one.png")
    assert one.code == 2 and "cannot hold the pictures of several images" in one.err
    grouped = aicli("classify", archive, "--group", tmp_path / "groups")
    assert grouped.code == 1 and f"{archive}/img2.png: it is not a file on this machine" in grouped.err


def test_resume_of_an_archive_skips_what_is_answered(aicli: Any, photos: Path, tmp_path: Path) -> None:
    archive, out = tmp_path / "shard.tar", tmp_path / "out.jsonl"
    pack(photos, archive)
    aicli("classify", archive, "-O", out)
    again = aicli("classify", archive, "-O", out, "--resume", "-v")
    assert "broken.jpg" in again.err and "img2" not in again.err
    assert len(out.read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cut.tar", lambda data: data[: len(data) // 2], "cut.tar: a damaged or truncated archive"),
        ("no.zip", lambda data: b"PK no", "no.zip: a damaged or truncated archive"),
        ("none.tar", lambda data: tar_of("a.txt"), "none.tar: no images in this archive"),
    ],
)
def test_damaged_archives_are_one_line(
    aicli: Any, photos: Path, tmp_path: Path, name: str, content: Any, said: str
) -> None:
    pack(photos, tmp_path / "whole.tar")
    (tmp_path / name).write_bytes(content((tmp_path / "whole.tar").read_bytes()))
    result = aicli("classify", tmp_path / name, "-f", "jsonl")
    assert result.code == 1 and said in result.err


def tar_of(name: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return stream.getvalue()


def test_columns_of_paths_bytes_and_structs(aicli: Any, photos: Path, tmp_path: Path, expected: dict[str, Any]) -> None:
    names = sorted(expected)
    data = [(photos / name).read_bytes() for name in names]
    path = tmp_path / "set" / "photos.parquet"
    path.parent.mkdir()
    structs = [{"bytes": content, "path": name} for name, content in zip(names, data, strict=True)]
    columns = {"path": [str(photos / name) for name in names], "data": data, "image": structs, "n": range(len(names))}
    pq.write_table(pa.table({**columns, "hole": [None] * 3 + [data[-1]]}), path)

    compare(records(aicli("classify", path, "--column", "path", "-f", "jsonl")), expected, f"{photos}/")
    by_row = {str(row): expected[name] for row, name in enumerate(names)}
    for column in ("data", "image"):
        result = aicli("classify", path.parent, "--column", column, "-f", "jsonl", "-j", 2)
        compare(records(result), by_row, f"{path}/")
    holes = aicli("classify", path, "--column", "hole", "-f", "jsonl")
    assert holes.code == 1 and holes.err.count("null; there is no photo in this row") == 3
    wrong = aicli("classify", path, "--column", "label")
    assert wrong.code == 2 and "photos.parquet: there is no column label; it has path, data" in wrong.err
    number = aicli("classify", path, "--column", "n")
    assert number.code == 2 and "holds int64, neither paths nor bytes" in number.err
    photo = aicli("classify", photos / "img2.png", "--column", "x")
    assert photo.code == 1 and "img2.png: cannot be read as Parquet" in photo.err


def test_a_bucket_answers_as_a_folder_does(
    aicli: Any, bucket: Any, photos: Path, tmp_path: Path, expected: dict[str, Any]
) -> None:
    pack(photos, tmp_path / "shard.tar")
    for name in expected:
        bucket.upload_file(str(photos / name), "photos", f"all/{name}")
    bucket.upload_file(str(photos / ".hidden.png"), "photos", "all/.hidden.png")
    bucket.put_object(Bucket="photos", Key="all/notes.txt", Body=b"text")
    bucket.put_object(Bucket="photos", Key="empty.png", Body=b"")
    bucket.upload_file(str(tmp_path / "shard.tar"), "photos", "shards/a.tar")

    result = aicli("classify", "s3://photos/all/", "-f", "jsonl", "-j", 2)
    assert result.code == 1 and "1 file passed over (1 .txt" in result.err
    compare(records(result), expected, "s3://photos/all/")
    compare(
        records(aicli("classify", "s3://photos/shards/*.tar", "-f", "jsonl")), expected, "s3://photos/shards/a.tar/"
    )
    found = records(aicli("classify", "s3://photos/all/img*", "s3://photos/all/deep/astronaut.png", "-f", "jsonl"))
    assert [record["image"].rpartition("/")[2] for record in found] == ["img2.png", "img10.jpg", "astronaut.png"]

    for address, said in {
        "s3://photos/empty.png": "s3://photos/empty.png: empty; nothing to decode",
        "s3://photos/none.jpg": "s3://photos/none.jpg: nothing with this address",
        "s3://photos/nothing/": "s3://photos/nothing/: nothing with this address",
        "s3://photos/z*": "s3://photos/z*: nothing matches this pattern",
        "s3://nobody/": "s3://nobody/: nothing with this address",
    }.items():
        refused = aicli("classify", address)
        assert refused.code == 1 and said in refused.err and refused.err.count("\n") == 1, address
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    drawn = aicli("detect-faces", "s3://photos/all/img10.jpg", "-o", tmp_path / "one.jpg")
    assert drawn.code == 0 and (tmp_path / "one.jpg").exists()


def test_packages_that_are_missing_are_named(aicli: Any) -> None:
    result = aicli("classify", "gs://bucket/photo.jpg")
    assert result.code == 2 and "gs:// needs the package gcsfs; run: pip install gcsfs" in result.err
    assert aicli("classify", "https://example.org/x.jpg").code == 1, "addresses of the web are not fetched"


def test_members_that_cannot_be_had_are_named(aicli: Any, photos: Path, tmp_path: Path) -> None:
    tar, locked = tmp_path / "a.tar", tmp_path / "b.zip"
    with tarfile.open(tar, "w") as archive:
        archive.add(photos / "img2.png", "img2.png")
        for name, kind in (("hard.png", tarfile.LNKTYPE), ("soft.png", tarfile.SYMTYPE), ("soft.txt", tarfile.SYMTYPE)):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, "img2.png"
            archive.addfile(link)
    with zipfile.ZipFile(locked, "w") as pack:
        pack.write(photos / "img2.png", "img2.png")
    data = bytearray(locked.read_bytes())
    data[6] |= 1  # the flag "encrypted", here and in the directory at the end
    data[data.index(b"PK\x01\x02") + 8] |= 1
    locked.write_bytes(data)
    result = aicli("classify", tar, locked, "-f", "jsonl")
    found = {Path(record["image"]).name: record.get("error", "") for record in records(result)}
    assert result.code == 1 and list(found) == ["img2.png", "hard.png", "soft.png"]
    for name in ("hard.png", "soft.png"):
        assert f"{tar}/{name}: a link to img2.png, which is not followed in an archive; unpack it" in found[name]
    assert f"{locked}/img2.png: encrypted; unpack the archive with its password" in result.err
