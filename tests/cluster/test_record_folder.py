"""The folder of records: known whatever ends a run, and each photo once in the end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from aicli.cli.batch.cluster_pictures import NodePictures
from aicli.cluster.photos import Current, Photo
from aicli.cluster.record_folder import Answered, RecordFolder
from aicli.cluster.storage import Storage
from aicli.errors import AicliError, UsageError
from tests.cluster.conftest import PROJECT, rows_of

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
    folder.look(ABOUT, **how)
    return folder, folder.begin(ABOUT, **how)


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


def test_what_killed_processes_have_left_is_removed(tmp_path: Path) -> None:
    """Unfinished files, and a file of records that came to be when its run was forgotten already."""
    folder, _ = begun(tmp_path / "out")
    put(folder, "x", a=False)
    late = tmp_path / "out" / put(folder, "y", a=False)
    (tmp_path / "out" / "_aicli" / f"{late.stem}.json").unlink()
    (tmp_path / "out" / ".aicli-0123456789ab.tmp").touch()
    (tmp_path / "out" / "_aicli" / ".aicli-0123456789ab.tmp").touch()
    (tmp_path / "out" / "part-mine.parquet").touch()
    folder.finish(NOBODY)
    left = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert len(left) == 5 and {"_SUCCESS", "part-mine.parquet", "run.json"} < set(left) and late.name not in left


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_damaged_is_not_there(tmp_path: Path, format: str) -> None:
    """A file of records, or what is said of it, cut off in the middle or empty: its photos are answered anew."""
    folder, _ = begun(tmp_path / "out", format)
    names = [put(folder, "x", **{key: False, f"{key}2": True}) for key in "abcde"]
    for name, at in (names[0], 0.5), (names[1], 0):
        file = tmp_path / "out" / name
        file.write_bytes(file.read_bytes()[: int(at * file.stat().st_size)])
    for name, said in (names[2], b""), (names[3], b'[9, [["d",'):
        (tmp_path / "out" / "_aicli" / name).with_suffix(".json").write_bytes(said)
    folder, answered = begun(tmp_path / "out", format, resume=True)
    assert answered == {"e"}
    assert [path.name for path in (tmp_path / "out").glob("part-*")] == [names[4]], "no reader meets them"
    put(folder, "y", a=False, b=False, c=False, d=False)
    folder.finish(NOBODY)
    assert [row["image"] for row in rows_of(tmp_path / "out")] == ["a", "b", "c", "d", "e", "e2"]


def test_a_run_that_says_no_more_what_it_is(tmp_path: Path) -> None:
    folder, _ = begun(tmp_path / "out")
    put(folder, "x", a=False)
    (tmp_path / "out" / "_aicli" / "run.json").write_bytes(b'{"all_')
    for resume in (False, True):
        with pytest.raises(
            UsageError, match=r"out/_aicli/run\.json: damaged, so that .*; begin anew with overwrite, or"
        ):
            begun(tmp_path / "out", resume=resume)
    assert begun(tmp_path / "out", overwrite=True)[1] == set()


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_a_run_that_was_killed_when_it_had_hardly_begun_is_begun_again(tmp_path: Path, how: dict[str, Any]) -> None:
    """Before it said what it is, and while it removed the records of a former one: those do not come back."""
    (tmp_path / "out" / "_aicli").mkdir(parents=True)
    (tmp_path / "out" / "_aicli" / ".aicli-0123456789ab.tmp").touch()
    folder, _ = begun(tmp_path / "out", **how)
    put(folder, "x", a=False)
    run = tmp_path / "out" / "_aicli" / "run.json"
    run.write_text(json.dumps({**json.loads(run.read_text()), "clearing": True}))
    assert begun(tmp_path / "out", **how)[1] == set()
    assert list((tmp_path / "out").glob("part-*")) == [] and "clearing" not in run.read_text()


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


def test_the_queries_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    duckdb, _ = pytest.importorskip("duckdb"), pytest.importorskip("pandas")
    folder, _ = begun(tmp_path / "labels")
    put(folder, "cat", a=False, b=False, c=True)
    put(folder, "dog", d=False)
    folder.finish(NOBODY)
    monkeypatch.chdir(tmp_path)
    page = (PROJECT / "docs" / "cluster.md").read_text()
    (query,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert duckdb.sql(query).fetchall() == [("cat", 2, 0.5), ("dog", 1, 0.5)]
    (snippet,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "pandas" in code]
    names: dict[str, Any] = {}
    exec(snippet, names)
    assert "cat    2" in capsys.readouterr().out
    assert dict(names["best"].value_counts()) == {"cat": 2, "dog": 1}
    assert names["failed"][["image", "error"]].to_numpy().tolist() == [["c", "empty"]]


def test_a_bucket_that_is_away_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has cost work is written when it is back; no run waits for one that is not there from the beginning."""
    base: Any = pytest.importorskip("fsspec").AbstractFileSystem
    written: dict[str, bytes] = {}
    away: list[float] = []

    class Away(base):  # type: ignore[misc]
        protocol = "s3"

        def ls(self, path: str, detail: bool = True, **more: Any) -> list[Any]:
            return []

        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
            if sum(away) < 30:
                raise OSError(16, "Service Unavailable")
            written[path] = value

    monkeypatch.setattr("aicli.cluster.storage.opened", lambda address: (Away(), address))
    monkeypatch.setattr("time.sleep", away.append)
    folder = RecordFolder("s3://bucket/labels/", "jsonl", "classify")
    with pytest.raises(AicliError, match=r"run\.json: cannot be read or written \(\[Errno 16\] Service Unavailable\)"):
        folder.begin(ABOUT, resume=False, overwrite=False)
    assert away == []
    put(folder, "x", a=False)
    assert len(written) == 2 and 30 <= sum(away) < 60


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
    with pytest.raises(
        AicliError, match=r"s3://bucket/labels/_aicli/run\.json: no permission \(Access Denied\); check"
    ):
        folder.begin(ABOUT, resume=False, overwrite=False)


def test_a_resumed_run_removes_the_unfinished_pictures_of_the_one_before(tmp_path: Path) -> None:
    """Not those of a run into other records, which may live."""

    def pictures(records: str) -> NodePictures:
        return NodePictures.of(records, None, str(tmp_path / "crops"), None, all_frames=False)

    photo = Photo("0" * 24 + ".1", "a/b.jpg", tmp_path / "b.jpg")
    for run in (pictures("out/"), pictures("other/")):
        run.begin()
        part = run.places(photo)["crops"].part
        (tmp_path / "crops" / part).touch()
    pictures("out").end()
    assert [path.name for path in (tmp_path / "crops").iterdir()] == [part]
