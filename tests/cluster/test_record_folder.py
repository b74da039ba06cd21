"""The folder of records: known whatever ends a run, and each photo once in the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aicli.cluster.photos import Current
from aicli.cluster.record_folder import Answered, RecordFolder
from aicli.cluster.storage import Storage
from aicli.errors import AicliError, UsageError
from tests.cluster.conftest import rows_of

pytest.importorskip("pyarrow")
ABOUT = {"all_frames": False}
NOBODY = Current(frozenset(), frozenset({""}))
"""What was written is as it is now, and nothing is missed."""
FORMATS = ("parquet", "jsonl")


def record(key: str, *, failed: bool = False, label: str = "cat") -> str:
    if failed:
        return json.dumps({"image": key, "error": "empty"})
    prediction = {"index": 0, "label": label, "score": 0.5, "confidence": "high"}
    return json.dumps({"image": key, "width": 1, "height": 2, "model": "m", "predictions": [prediction]})


def put(folder: RecordFolder, run: str, **photos: bool) -> str:
    """Writes a file with these photos, whose value is whether they failed."""
    answered = [Answered(key, 1, failed) for key, failed in photos.items()]
    return folder.write(answered, [record(key, failed=failed, label=run) for key, failed in photos.items()], run)


def begun(path: Path, format: str = "parquet", **how: Any) -> tuple[RecordFolder, set[str]]:
    folder = RecordFolder(f"{path}/", format, "classify")
    how = {"resume": False, "overwrite": False, **how}
    mine = folder.look(ABOUT, **how)
    return folder, folder.begin(mine, resume=how["resume"])


@pytest.mark.parametrize("format", FORMATS)
def test_photos_that_failed_are_tried_again_and_have_one_record_in_the_end(tmp_path: Path, format: str) -> None:
    folder, _ = begun(tmp_path / "out", format)
    put(folder, "one", a=False, b=True, c=True)
    put(folder, "one", d=True)
    folder, answered = begun(tmp_path / "out", format, resume=True)
    assert answered == {"a"}
    put(folder, "two", b=False, c=True, d=True)
    assert folder.finish(NOBODY) == {"photos": 4, "failed": 2, "records": 4, "files": 2}
    rows = rows_of(tmp_path / "out")
    assert [row["image"] for row in rows] == ["a", "b", "c", "d"]
    assert [row["predictions"][0]["label"] for row in rows[:2]] == ["one", "two"]
    assert json.loads((tmp_path / "out" / "_SUCCESS").read_text())["photos"] == 4


@pytest.mark.parametrize("format", FORMATS)
def test_a_photo_in_two_files_is_left_in_one(tmp_path: Path, format: str) -> None:
    folder, _ = begun(tmp_path / "out", format)
    for run, photos in (("x", "abc"), ("y", "cde"), ("z", "ae")):
        put(folder, run, **dict.fromkeys(photos, False))
    assert folder.finish(NOBODY)["photos"] == 5
    assert [row["image"] for row in rows_of(tmp_path / "out")] == list("abcde")
    assert len(list((tmp_path / "out" / "_aicli").glob("part-*"))) == len(list((tmp_path / "out").glob("part-*")))


def test_photos_with_several_records_keep_theirs(tmp_path: Path) -> None:
    folder, _ = begun(tmp_path / "out", "jsonl")
    folder.write([Answered("a", 2, False), Answered("b", 1, True)], [record("a0"), record("a1"), record("b")], "x")
    folder.write([Answered("b", 3, False)], [record("b0"), record("b1"), record("b2")], "y")
    assert folder.finish(NOBODY) == {"photos": 2, "failed": 0, "records": 5, "files": 2}
    assert [row["image"] for row in rows_of(tmp_path / "out")] == ["a0", "a1", "b0", "b1", "b2"]


def test_what_was_written_twice_is_one_file(tmp_path: Path) -> None:
    folder, _ = begun(tmp_path / "out")
    assert put(folder, "x", a=False) == put(folder, "x", a=False) != put(folder, "y", a=False)
    assert folder.finish(NOBODY)["photos"] == 1


def test_a_run_that_stopped_before_a_file_was_there_has_not_answered_it(tmp_path: Path) -> None:
    folder, _ = begun(tmp_path / "out")
    put(folder, "x", a=False)
    (tmp_path / "out" / put(folder, "x", b=False)).unlink()
    assert begun(tmp_path / "out", resume=True)[1] == {"a"}
    assert folder.finish(NOBODY)["photos"] == 1
    assert len(list((tmp_path / "out" / "_aicli").glob("part-*"))) == 1


def test_nothing_that_a_user_owns_is_replaced(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "part-mine.parquet").write_bytes(b"mine")
    ways: tuple[dict[str, Any], ...] = ({}, {"resume": True}, {"overwrite": True})
    for how in ways:
        with pytest.raises(UsageError, match=r"own: not empty, and no records of aicli's; name another folder"):
            begun(own, **how)
    folder, _ = begun(tmp_path / "out")
    put(folder, "x", a=False)
    with pytest.raises(UsageError, match="holds the records of a run; continue with resume"):
        begun(tmp_path / "out")
    with pytest.raises(UsageError, match='begun with format "parquet", not "jsonl"'):
        begun(tmp_path / "out", "jsonl", resume=True)
    assert begun(tmp_path / "out", "jsonl", overwrite=True)[1] == set()
    assert list((tmp_path / "out").glob("part-*")) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(AicliError, match=r"cannot write .*file/_aicli/run\.json: Not a directory"):
        Storage(f"{tmp_path}/file").write("_aicli/run.json", b"")
    assert Storage(f"{tmp_path}/none").names() == []


def test_a_photo_that_changed_has_the_record_of_what_it_is_now(tmp_path: Path) -> None:
    folder, _ = begun(tmp_path / "out", "jsonl")
    folder.write([Answered("a.1", 1, False), Answered("b.1", 1, False)], [record("a-old"), record("b")], "x")
    folder.write([Answered("a.2", 1, True)], [record("a-new", failed=True)], "y")
    folder.finish(Current(frozenset({"a.2", "b.1"}), frozenset()))
    assert [row["image"] for row in rows_of(tmp_path / "out")] == ["a-new", "b"]


def test_a_photo_without_a_record_is_no_success(tmp_path: Path) -> None:
    folder, _ = begun(tmp_path / "out")
    put(folder, "x", a=False)
    with pytest.raises(AicliError, match="out: 1 of the photos have no record; look whether all nodes share"):
        folder.finish(Current(frozenset({"a", "b"}), frozenset()))
    assert not (tmp_path / "out" / "_SUCCESS").exists()


def test_a_bucket_without_rights_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base: Any = pytest.importorskip("fsspec").AbstractFileSystem

    class Closed(base):  # type: ignore[misc]
        protocol = "s3"

        def ls(self, path: str, detail: bool = True, **more: Any) -> list[Any]:
            return []

        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
            raise PermissionError("Access Denied")

    monkeypatch.setattr("aicli.cluster.storage.opened", lambda address: (Closed(), address))
    folder = RecordFolder("s3://bucket/labels/", "parquet", "classify")
    mine = folder.look(ABOUT, resume=False, overwrite=False)
    with pytest.raises(
        AicliError, match=r"s3://bucket/labels/_aicli/run\.json: no permission \(Access Denied\); check"
    ):
        folder.begin(mine, resume=False)
