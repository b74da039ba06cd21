r"""Results as records: one writer per format, each image written as soon as it is answered.

=======  ===============================================================================================================
format   what a run looks like
=======  ===============================================================================================================
table    for people: a section per image, aligned at the given width, in colour on a terminal (not under NO_COLOR)
text     tab-separated lines. classify: ``path, label, score`` for the best label, or a line per prediction when the
         number of labels was asked for; ``path, -, -`` where none reaches the minimum score. Faces: a line per face,
         ``path, x1, y1, x2, y2, score``; none for an image without a face. Control characters are ``\t``, ``\n``,
         ``\x1b``, undecodable bytes ``\xff``, a backslash is ``\\``.
json     one array, one record a line; valid even when it is empty
jsonl    one record a line
csv      RFC 4180 with a header (:data:`CLASSIFY_COLUMNS`, :data:`FACE_COLUMNS`): a row per prediction or face, and one
         row with the image alone where there is none. ``rank`` and ``face`` count from 1.
parquet  for programs that read tables (``parquet.py``): a row an image, its labels or faces as a list of structs
=======  ===============================================================================================================

Names have undecodable bytes as ``\xff`` in all of them.

An image that failed is a record ``{"image": ..., "error": ...}`` in json and jsonl, a row with ``error`` in csv and
parquet, and nothing in table and text: there the message belongs on stderr. Coordinates are pixels of the upright
image.

Where every frame of a file is answered, text and csv have a column more behind the image, ``frame``, from 0. Where
photos are put into groups, csv has one before ``error``: ``group``, where the photo was put.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Literal, TextIO

from aicli._text import escape_bytes, one_line
from aicli.errors import UsageError
from aicli.output.writer import Writer
from aicli.results import Classification, Detection, Landmarks

__all__ = ["CLASSIFY_COLUMNS", "FACE_COLUMNS", "FORMATS", "Task", "Writer", "make_writer"]

Task = Literal["classify", "detect-faces"]
FORMATS = ("table", "text", "json", "jsonl", "csv", "parquet")

CLASSIFY_COLUMNS = ("image", "rank", "index", "label", "score", "confidence", "error")
FACE_COLUMNS = (
    *("image", "face", "x1", "y1", "x2", "y2", "score"),
    *(f"{name}_{axis}" for name in Landmarks._fields for axis in "xy"),
    "error",
)


def make_writer(
    format: str,
    stream: TextIO,
    *,
    task: Task,
    top_given: bool = False,
    width: int | None = None,
    header: bool = True,
    frames: bool = False,
    groups: bool = False,
) -> Writer:
    """The writer of a format of :data:`FORMATS`.

    ``top_given``: the number of labels was asked for, so that text shows them all. ``width``: columns of a table; by
    default those of the terminal, or 80. ``header=False`` leaves out the header line of csv, for a file that has one.
    ``frames``: every frame of a file is answered. ``groups``: photos are put into groups.
    """
    if format == "text":
        return _TextWriter(stream, top_given=top_given, frames=frames)
    if format == "json":
        return _JsonWriter(stream, frames=frames)
    if format == "jsonl":
        return _JsonLinesWriter(stream, frames=frames)
    if format == "csv":
        return _CsvWriter(stream, task, header=header, frames=frames, groups=groups)
    if format == "parquet":
        from aicli.output.parquet import ParquetWriter, require_pyarrow

        require_pyarrow()
        return ParquetWriter(stream, task, frames=frames)
    if format == "table":
        from aicli.output.tables import TableWriter  # imports rich: 0.1 s that no other format pays

        return TableWriter(stream, width=width, frames=frames)
    raise UsageError(f"there is no output format {format!r}; choose one of {', '.join(FORMATS)}")


class _TextWriter(Writer):
    def __init__(self, stream: TextIO, *, top_given: bool, frames: bool) -> None:
        super().__init__(stream, frames=frames)
        self._top_given = top_given

    def result(self, item: Classification | Detection, extra: dict[str, Any] | None = None) -> None:
        path = [one_line(item.image)] + ([str(item.frame)] if self._frames else [])
        if isinstance(item, Detection):
            rows = [[*path, *(f"{value:.1f}" for value in face.box), f"{face.score:.4f}"] for face in item.faces]
        else:
            shown = item.predictions if self._top_given else item.predictions[:1]
            rows = [[*path, one_line(prediction.label), f"{prediction.score:.4f}"] for prediction in shown]
            rows = rows or [[*path, "-", "-"]]
        self._emit("".join("\t".join(row) + "\n" for row in rows))


# Valid in JSON as they are, but not for a terminal or a program that splits lines.
_JSON_UNSAFE = "[\x7f-\x9f\u2028\u2029]"


def _finite(value: Any) -> Any:
    """The value with every NaN and infinity in it as ``None``: JSON has no word for them."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _JsonLinesWriter(Writer):
    def result(self, item: Classification | Detection, extra: dict[str, Any] | None = None) -> None:
        self._record(self._record_of(item, extra))

    def failure(self, image: str, error: str) -> None:
        self._record({"image": image, "error": error})

    def _record(self, record: dict[str, Any]) -> None:
        self._emit(self._dump(record) + "\n")

    def _dump(self, record: dict[str, Any]) -> str:
        try:
            text = json.dumps(record, ensure_ascii=False, allow_nan=False)
        except ValueError:
            text = json.dumps(_finite(record), ensure_ascii=False)
        if not text.isprintable():
            # A lone surrogate (an undecodable byte of a name) makes DuckDB, jq and others refuse or change the line.
            text = re.sub("[\ud800-\udfff]", lambda match: escape_bytes(match[0]).replace("\\", "\\\\"), text)
            text = re.sub(_JSON_UNSAFE, lambda match: f"\\u{ord(match[0]):04x}", text)
        # A stream of another encoding gets pure ASCII: encodable() would put \U0001f600 into it, which is no JSON.
        unicode = "utf" in (getattr(self._stream, "encoding", None) or "utf-8").lower()
        return text if unicode or text.isascii() else json.dumps(json.loads(text))


class _JsonWriter(_JsonLinesWriter):
    def __init__(self, stream: TextIO, *, frames: bool) -> None:
        super().__init__(stream, frames=frames)
        self._records = 0
        self._closed = False

    def _record(self, record: dict[str, Any]) -> None:
        # The comma comes before the next record: after any record, "\n]" is all that is missing.
        self._emit((",\n" if self._records else "[\n") + self._dump(record))
        self._records += 1

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._emit("\n]\n" if self._records else "[]\n")


class _CsvWriter(Writer):
    def __init__(self, stream: TextIO, task: Task, *, header: bool, frames: bool, groups: bool) -> None:
        import csv

        super().__init__(stream, frames=frames)
        image, *columns = CLASSIFY_COLUMNS if task == "classify" else FACE_COLUMNS
        self._columns = [image, *(["frame"] if frames else []), *columns]
        self._groups = groups
        if groups:
            self._columns.insert(-1, "group")
        self._pending: list[str] = []
        self._csv = csv.writer(self)  # csv's own line ending is RFC 4180's, "\r\n"
        if header:
            self._rows([self._columns])

    def write(self, line: str) -> int:
        """Take one line from csv.writer; :meth:`_rows` hands on the lines of an image in one piece."""
        self._pending.append(line)
        return len(line)

    def result(self, item: Classification | Detection, extra: dict[str, Any] | None = None) -> None:
        image: list[Any] = [escape_bytes(item.image)] + ([item.frame] if self._frames else [])
        end = [escape_bytes((extra or {}).get("group") or "")] if self._groups else []
        rows: list[list[Any]] = []
        if isinstance(item, Detection):
            for number, face in enumerate(item.faces, 1):
                points = (round(value, 2) for point in face.landmarks for value in point)
                box = (round(value, 2) for value in face.box)
                rows.append([*image, number, *box, f"{face.score:.6f}", *points, *end, ""])
        else:
            for rank, best in enumerate(item.predictions, 1):
                score = f"{best.score:.6f}"
                rows.append([*image, rank, best.index, escape_bytes(best.label), score, best.confidence, *end, ""])
        self._rows(rows or [[*image, *[""] * (len(self._columns) - len(image) - len(end) - 1), *end, ""]])

    def failure(self, image: str, error: str) -> None:
        self._rows([[escape_bytes(image), *[""] * (len(self._columns) - 2), escape_bytes(error)]])

    def _rows(self, rows: list[Any]) -> None:
        self._pending.clear()
        self._csv.writerows(rows)
        self._emit("".join(self._pending))
