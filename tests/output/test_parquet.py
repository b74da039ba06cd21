"""Parquet: read back with other programs, it says what json lines say."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import duckdb
import pandas
import pyarrow.parquet as pq
import pytest

from aicli.errors import UnavailableError, UsageError
from aicli.output.parquet import ROWS, read_records, write_records
from aicli.output.records import make_writer
from aicli.results import Classification, Prediction

POINTS = {
    name: [1.25 * n, 2.0 * n]
    for n, name in enumerate(["left_eye", "right_eye", "nose", "mouth_left", "mouth_right"], start=1)
}
FACES: list[dict[str, Any]] = [
    {
        "image": "a/x.jpg",
        "width": 40,
        "height": 30,
        "model": "mtcnn",
        "frames": 3,
        "frame": 0,
        "part": "a JPEG",
        "faces": [
            {"box": [1.5, -2.25, 30.0, 40.0], "score": 0.998877, "landmarks": POINTS},
            {"box": [0.1, 0.2, 0.3, 0.4], "score": 0.5, "landmarks": POINTS, "turn": 90},
        ],
        "output": "o/x.jpg",
        "crops": ["c/x.face1.jpg"],
        "metadata": "dropped",
        "timing": {"pnet": 1.5},
    },
    {"image": "none.png", "width": 1, "height": 2, "model": "mtcnn", "faces": []},
    {"image": "bad.jpg", "error": "bad.jpg: no image; check the file"},
]


def write(path: Path, records: list[Any], task: str) -> None:
    with path.open("wb") as stream:
        write_records([json.dumps(record) for record in records], stream, task)


def test_every_record_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "faces.parquet"
    write(path, FACES, "detect-faces")
    assert list(read_records(str(path), "detect-faces")) == FACES
    with pytest.raises(UsageError, match="not those of aicli classify"):
        list(read_records(str(path), "classify"))
    path.write_bytes(b"PAR1 or not")
    with pytest.raises(UsageError, match=r"faces\.parquet: cannot be read as Parquet"):
        list(read_records(str(path), "detect-faces"))


def test_duckdb_and_pandas_read_it(tmp_path: Path) -> None:
    path = tmp_path / "faces.parquet"
    write(path, FACES, "detect-faces")
    query = "SELECT image, len(faces), faces[1].box.x1, faces[1].landmarks.left_eye.y, error FROM read_parquet(?)"
    assert duckdb.execute(query, [str(path)]).fetchall() == [
        ("a/x.jpg", 2, 1.5, 2.0, None),
        ("none.png", 0, None, None, None),
        ("bad.jpg", None, None, None, "bad.jpg: no image; check the file"),
    ]
    frame = pandas.read_parquet(path)
    assert frame.loc[0, "faces"][1]["score"] == 0.5
    assert list(frame["image"][frame["error"].notna()]) == ["bad.jpg"]


def test_many_rows_are_written_in_groups_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "many.parquet"
    lines = [json.dumps({"image": f"{n}.jpg", "error": "none"}) for n in range(ROWS + 2)]
    with path.open("wb") as stream:
        others = ["[1]", '"a"', '{"image": 5}', '{"error": "of what"}', '{"image": "to']
        write_records([*lines, *others], stream, "classify")
    with pq.ParquetFile(path) as file:
        assert (file.num_row_groups, file.metadata.num_rows) == (2, ROWS + 2)


def test_names_that_are_no_text_are_escaped() -> None:
    raw = io.BytesIO()
    with make_writer("parquet", io.TextIOWrapper(raw, encoding="latin-1"), task="classify") as writer:
        writer.result(Classification("日\udcff", 1, 1, "m", (Prediction(0, "\udc80a", 0.5),)))
        writer.failure("b", "\udcff: no")
        writer.close()
        rows = pq.read_table(io.BytesIO(raw.getvalue())).to_pylist()
    assert rows[0]["image"] == "日\\xff"
    assert rows[0]["predictions"] == [{"index": 0, "label": "\\x80a", "score": 0.5, "confidence": "medium"}]
    assert rows[1]["error"] == "\\xff: no"


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="Parquet needs the package pyarrow; run: pip install"):
        make_writer("parquet", io.StringIO(), task="classify")
