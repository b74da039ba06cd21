"""The record formats: each must stay valid whatever file names and labels hold."""

from __future__ import annotations

import csv
import errno
import io
import json
import subprocess
import sys
from typing import Any

import pytest
from rich.cells import cell_len

from aicli._text import one_line
from aicli.errors import AicliError, UsageError
from aicli.output.records import CLASSIFY_COLUMNS, FACE_COLUMNS, FORMATS, Task, make_writer
from aicli.results import Box, Classification, Detection, Face, Landmarks, Point, Prediction

TEXT_FORMATS = [format for format in FORMATS if format != "parquet"]  # which has a test of its own
NASTY = [
    "a\tb",
    "a\nb",
    "a\r\nb",
    'quo"te,comma',
    "back\\slash",
    "\x1b[31mred",
    "\udcff\udc80",
    "[red]x[/red]",
    "日本.jpg",
]
NASTY += ["\x9b31m", "\u2028", "\u202egpj.exe", ":smile:", "=1+1", "\x7f\x00", ""]
POINTS = Landmarks(*(Point(10.123 * n, 20.456 * n) for n in range(1, 6)))


def classification(image: str = "a.jpg", *labels: str) -> Classification:
    scores = [0.9128, 0.0210, 0.3]
    predictions = tuple(Prediction(i, label, scores[i % 3]) for i, label in enumerate(labels))
    return Classification(image, 40, 30, "lite0", predictions)


def detection(image: str = "a.jpg", faces: int = 1) -> Detection:
    return Detection(image, 40, 30, "mtcnn", (Face(Box(1.04, 2.06, 30.5, 41), 0.98765, POINTS),) * faces)


def run(
    format: str, *items: Any, task: Task = "classify", top: bool = False, width: int | None = 80, **extra: Any
) -> str:
    stream = io.StringIO()
    with make_writer(format, stream, task=task, top_given=top, width=width) as writer:
        for item in items:
            if isinstance(item, tuple):
                writer.failure(*item)
            else:
                writer.result(item, extra or None)
    return stream.getvalue()


def test_text_shows_the_best_label_unless_more_were_asked_for() -> None:
    item = classification("a.jpg", "cat", "dog")
    assert run("text", item) == "a.jpg\tcat\t0.9128\n"
    assert run("text", item, top=True) == "a.jpg\tcat\t0.9128\na.jpg\tdog\t0.0210\n"
    assert run("text", classification()) == "a.jpg\t-\t-\n"


def test_text_has_a_line_per_face() -> None:
    assert run("text", detection(faces=2), task="detect-faces") == "a.jpg\t1.0\t2.1\t30.5\t41.0\t0.9877\n" * 2
    assert run("text", detection(faces=0), task="detect-faces") == ""


@pytest.mark.parametrize("name", NASTY)
def test_text_keeps_its_columns(name: str) -> None:
    output = run("text", classification(name, name))
    assert output.count("\n") == 1 and output.count("\t") == 2
    assert {character for character in output if not character.isprintable()} == {"\t", "\n"}
    output.encode("utf-8")


def test_one_line_can_be_undone() -> None:
    assert one_line("a\tb\\t\n\x1b\udcff\x85") == r"a\tb\\t\n\x1b\xff\u0085"


@pytest.mark.parametrize("name", NASTY)
def test_json_holds_any_name(name: str) -> None:
    lines = run("jsonl", classification(name, name), (name, "no image"))
    lines.encode("utf-8")
    assert len(lines.splitlines()) == 2
    first, second = map(json.loads, lines.splitlines())
    name = name.replace("\udcff\udc80", r"\xff\x80")
    assert first["image"] == name and first["predictions"][0]["label"] == name
    assert second == {"image": name, "error": "no image"}


def test_json_is_a_valid_array_of_any_length() -> None:
    items: list[Any] = [classification("a", "cat"), ("b", "no image"), detection("c")]
    for count in range(4):
        assert len(json.loads(run("json", *items[:count]))) == count
    assert json.loads(run("json", *items)) == [json.loads(line) for line in run("jsonl", *items).splitlines()]


def test_json_is_streamed_and_closing_twice_is_harmless() -> None:
    stream = io.StringIO()
    writer = make_writer("json", stream, task="classify")
    writer.result(classification("a"))
    assert json.loads(stream.getvalue() + "]")
    writer.close()
    writer.close()
    assert json.loads(stream.getvalue())


def test_json_takes_extra_keys_and_has_no_nan() -> None:
    item = Classification("a", 1, 1, "m", (Prediction(0, "x", float("nan")),))
    record = json.loads(
        run("jsonl", item, output="b.jpg", timing={"guest_ms": float("inf")}), parse_constant=pytest.fail
    )
    assert record["output"] == "b.jpg"
    assert record["predictions"][0]["score"] is None and record["timing"] == {"guest_ms": None}


@pytest.mark.parametrize("name", NASTY)
def test_csv_reads_back(name: str) -> None:
    text = run("csv", classification(name, "cat", name), (name, name))
    text.encode("utf-8")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    shown = name.replace("\udcff\udc80", r"\xff\x80").replace("\0", r"\x00")
    assert [row["image"] for row in rows] == [shown] * 3
    assert rows[1]["label"] == shown and rows[1]["rank"] == "2" and rows[0]["score"] == "0.912800"
    assert rows[2]["error"] == shown and rows[2]["label"] == ""
    assert all(None not in row for row in rows)


def test_csv_columns_and_line_ends() -> None:
    assert run("csv") == ",".join(CLASSIFY_COLUMNS) + "\r\n"
    assert run("csv", task="detect-faces") == ",".join(FACE_COLUMNS) + "\r\n"
    rows = list(csv.DictReader(io.StringIO(run("csv", detection(faces=2), detection("b", 0), task="detect-faces"))))
    assert [(row["image"], row["face"], row["x1"]) for row in rows] == [
        ("a.jpg", "1", "1.04"),
        ("a.jpg", "2", "1.04"),
        ("b", "", ""),
    ]
    assert rows[0]["left_eye_x"] == "10.12" and rows[0]["mouth_right_y"] == "102.28" and rows[0]["score"] == "0.987650"


def test_csv_says_where_a_photo_was_put() -> None:
    stream = io.StringIO()
    writer = make_writer("csv", stream, task="detect-faces", groups=True)
    writer.result(detection(faces=2), {"group": "sorted/with faces/a.jpg"})
    writer.result(detection("b", 0), {"group": "sorted/without faces/b"})
    writer.result(detection("c", 0))
    writer.failure("d", "no image")
    header, *rows = csv.reader(io.StringIO(stream.getvalue()))
    assert header == [*FACE_COLUMNS[:-1], "group", "error"]
    assert {len(row) for row in rows} == {len(header)}
    assert [(row[0], *row[-2:]) for row in rows] == [
        *[("a.jpg", "sorted/with faces/a.jpg", "")] * 2,
        *[("b", "sorted/without faces/b", ""), ("c", "", ""), ("d", "", "no image")],
    ]


def test_csv_header_can_be_left_out() -> None:
    stream = io.StringIO()
    make_writer("csv", stream, task="classify", header=False).failure("a", "b")
    assert stream.getvalue() == "a,,,,,,b\r\n"


@pytest.mark.parametrize("format", ["text", "table"])
def test_failures_are_left_to_stderr(format: str) -> None:
    assert run(format, ("a.jpg", "no image")) == ""


@pytest.mark.parametrize("width", [40, 80, 200])
def test_table_is_aligned_within_its_width(width: int) -> None:
    long = "African hunting dog, hyena dog, Cape hunting dog, Lycaon pictus"
    output = run("table", classification("a.jpg", "日本語", long), classification("b", "cat"), width=width)
    assert max(cell_len(line) for line in output.splitlines()) <= width
    (column,) = {cell_len(line.split("%")[0]) for line in output.splitlines() if "%" in line}
    assert column < 75
    words = output.replace("\n", " ").split()
    assert [word for word in words if word in long.split()] == long.split()
    assert output.startswith("a.jpg\n") and "\n\nb\n" in output


@pytest.mark.parametrize("width", [50, 60, 63, 64, 80])
def test_a_face_has_one_line_in_a_narrow_table_too(width: int) -> None:
    _, names, *faces = run("table", detection("a.jpg", 2), width=width).splitlines()
    assert len(faces) == 2 and max(map(len, faces)) <= width
    assert ("height" in names) == (width >= 64)


def test_table_of_faces() -> None:
    items = [detection("a.jpg"), detection("b.jpg", 0), detection("c.jpg", 0), detection("d.jpg", 2)]
    output = run("table", *items, task="detect-faces", output="out/x.jpg")
    assert "a.jpg: 1 face\n" in output and "b.jpg: no face\n" in output and "d.jpg: 2 faces\n" in output
    header = ["score", "x1", "y1", "x2", "y2", "width", "height"]
    assert [line.split() for line in output.splitlines() if "score" in line] == [header] * 2
    assert "saved as out/x.jpg" in output
    assert max(map(len, output.splitlines())) <= 80
    plain = run("table", *items[1:3], task="detect-faces")
    assert plain == "b.jpg: no face\nc.jpg: no face\n"


@pytest.mark.parametrize("name", NASTY)
def test_table_shows_names_as_they_are_and_no_escape_sequence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    output = run("table", classification(name, name), detection(name, 0))
    assert all(character.isprintable() or character == "\n" for character in output)
    if name.isprintable():
        assert output.startswith(f"{name}\n") and f"1  {name}" in output


def test_no_color_means_no_escape_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in run("table", classification("a", "cat"))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run("table", classification("a", "cat"))


@pytest.mark.parametrize("format", TEXT_FORMATS)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_format_fits_every_encoding(format: str, encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="")
    with make_writer(format, stream, task="classify", width=80) as writer:
        writer.result(classification("日本\udcff😀.jpg", "Käse"))
        assert raw.getvalue(), "every image is flushed"
    text = raw.getvalue().decode(encoding)
    if format == "json":
        assert json.loads(text)[0]["image"] == r"日本\xff😀.jpg"
        assert "\\ud" not in text.lower().replace("\\ud83d\\ude00", ""), "no lone surrogate"


class Broken(io.StringIO):
    def __init__(self, code: int) -> None:
        super().__init__()
        self.code, self.name = code, "results.txt"

    def flush(self) -> None:
        raise OSError(self.code, "No space left on device")


@pytest.mark.parametrize("format", TEXT_FORMATS)
def test_write_errors_name_the_file(format: str) -> None:
    with pytest.raises(AicliError, match=r"results\.txt: No space left"):
        make_writer(format, Broken(errno.ENOSPC), task="classify", width=80).result(classification("a", "b"))
    with pytest.raises(BrokenPipeError):
        make_writer(format, Broken(errno.EPIPE), task="classify", width=80).result(classification("a", "b"))


def test_unknown_format() -> None:
    with pytest.raises(UsageError, match="jsonl"):
        make_writer("yaml", io.StringIO(), task="classify")


def test_records_import_neither_rich_nor_pillow() -> None:
    code = "import sys, aicli.output.records; sys.exit(bool({'rich', 'PIL', 'click', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
