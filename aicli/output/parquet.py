"""Records as Parquet: one row an image, its labels or faces as a list of structs. The schema stands in docs/data.md.

pyarrow, of the extra ``data``, is imported by who needs it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from aicli._text import escape_bytes
from aicli.errors import AicliError, UnavailableError, UsageError
from aicli.output.writer import Writer
from aicli.results import Classification, Detection, Landmarks

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ParquetWriter", "read_records", "require_pyarrow", "schema", "to_row", "write_records"]

ROWS = 8192
"""Of a row group: so many are held in memory, and a reader takes at once."""

BOX = ("x1", "y1", "x2", "y2")


def require_pyarrow() -> None:
    """Raises :class:`UnavailableError`, which says how to install it, where pyarrow is missing; imports nothing."""
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        from aicli._extras import install_command

        raise UnavailableError(f"Parquet needs the package pyarrow; run: {install_command('data')}")


def schema(task: str) -> pa.Schema:
    """The columns of ``classify`` or ``detect-faces``."""
    import pyarrow as pa

    point = pa.struct([("x", pa.float64()), ("y", pa.float64())])
    if task == "classify":
        prediction = [
            ("index", pa.int32()),
            ("label", pa.string()),
            ("score", pa.float64()),
            ("confidence", pa.string()),
        ]
        answers = ("predictions", pa.list_(pa.struct(prediction)))
    else:
        face = [
            ("box", pa.struct([(name, pa.float64()) for name in BOX])),
            ("score", pa.float64()),
            ("landmarks", pa.struct([(name, point) for name in Landmarks._fields])),
            ("turn", pa.int32()),
        ]
        answers = ("faces", pa.list_(pa.struct(face)))
    return pa.schema(
        [
            pa.field("image", pa.string(), nullable=False),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("model", pa.string()),
            ("frames", pa.int32()),
            ("frame", pa.int32()),
            ("part", pa.string()),
            answers,
            ("output", pa.string()),
            ("crops", pa.list_(pa.string())),
            ("group", pa.string()),
            ("metadata", pa.string()),
            ("timing", pa.map_(pa.string(), pa.float64())),
            ("error", pa.string()),
        ]
    )


def to_row(record: dict[str, Any]) -> dict[str, Any]:
    """A record of ``-f jsonl`` as a row."""
    row = record | {"image": escape_bytes(record["image"])}
    for name in ("error", "output", "group"):
        if isinstance(row.get(name), str):
            row[name] = escape_bytes(row[name])
    if row.get("crops"):
        row["crops"] = [escape_bytes(path) for path in row["crops"]]
    if "predictions" in row:
        row["predictions"] = [item | {"label": escape_bytes(item["label"])} for item in row["predictions"]]
    if "faces" in row:
        row["faces"] = [face_to_row(face) for face in row["faces"]]
    if "timing" in row:
        row["timing"] = list(row["timing"].items())
    return row


def face_to_row(face: dict[str, Any]) -> dict[str, Any]:
    landmarks = {name: {"x": x, "y": y} for name, (x, y) in face["landmarks"].items()}
    return face | {"box": dict(zip(BOX, face["box"], strict=True)), "landmarks": landmarks}


def from_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the record of ``-f jsonl``."""
    record = {name: value for name, value in row.items() if value is not None}
    if "faces" in record:
        record["faces"] = [face_from_row(face) for face in record["faces"]]
    if "timing" in record:
        record["timing"] = dict(record["timing"])
    return record


def face_from_row(face: dict[str, Any]) -> dict[str, Any]:
    landmarks = {name: [point["x"], point["y"]] for name, point in face["landmarks"].items()}
    turn = {} if face["turn"] is None else {"turn": face["turn"]}
    return {"box": list(face["box"].values()), "score": face["score"], "landmarks": landmarks, **turn}


class Rows:
    """Writes records to a binary stream, a row group at a time; a context manager."""

    def __init__(self, stream: BinaryIO | IO[bytes], task: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._pa, self._schema = pa, schema(task)
        self._rows: list[dict[str, Any]] = []
        self._file = pq.ParquetWriter(stream, self._schema, compression="zstd")

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def add(self, record: dict[str, Any]) -> None:
        self._rows.append(to_row(record))
        if len(self._rows) == ROWS:
            self._flush()

    def close(self) -> None:
        """Writes what is left and the file's end; may be called twice."""
        if self._file.is_open:
            try:
                self._flush()
            finally:
                self._file.close()

    def _flush(self) -> None:
        if self._rows:
            rows, self._rows = self._rows, []
            self._file.write_table(self._pa.Table.from_pylist(rows, schema=self._schema))


class ParquetWriter(Writer):
    """Parquet on standard output, whose end is what makes it a file: all rows are lost without it."""

    def __init__(self, stream: Any, task: str, *, frames: bool = False) -> None:
        super().__init__(stream, frames=frames)
        if stream.isatty():
            raise UsageError(
                "Parquet is not for a terminal; name a file with the suffix .parquet, or send the output on"
            )
        self._rows = Rows(stream.buffer, task)

    def result(self, item: Classification | Detection, extra: dict[str, Any] | None = None) -> None:
        self._add(self._record_of(item, extra))

    def failure(self, image: str, error: str) -> None:
        self._add({"image": image, "error": error})

    def _add(self, record: dict[str, Any]) -> None:
        self._writing(lambda: self._rows.add(record))

    def close(self) -> None:
        self._writing(self._rows.close)

    def _writing(self, act: Any) -> None:
        try:
            act()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise AicliError(f"cannot write the results to standard output: {error.strerror or error}") from error


def write_records(lines: Iterable[str], stream: BinaryIO | IO[bytes], task: str) -> None:
    """Makes Parquet of lines of JSON; a torn one, which a run that was killed may leave, is no record."""
    with Rows(stream, task) as rows:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("image"), str):
                rows.add(record)


def read_records(path: str, task: str) -> Iterator[dict[str, Any]]:
    """The records of a file that aicli wrote. Raises :class:`UsageError` for any other file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema(task)):
                raise UsageError(f"{path}: its columns are not those of aicli {task}; choose another file")
            for batch in file.iter_batches(ROWS):
                yield from map(from_row, batch.to_pylist())
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{path}: cannot be read as Parquet ({reason}); there is nothing to continue") from None
