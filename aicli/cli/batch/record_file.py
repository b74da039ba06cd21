"""``--output-file`` and ``--resume``: records that appear under their name when the run is complete.

Meanwhile jsonl and csv grow in ``FILE.part``, line by line, so that a run that is killed can be taken up again; the
other formats have no use for a part and are written as a temporary file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from aicli.errors import AicliError, UsageError
from aicli.output.escape import escape_bytes

__all__ = ["RecordFile", "format_of"]

RESUMABLE = ("jsonl", "csv")


def format_of(path: str) -> str:
    """The format that a file's suffix asks for; text for any other."""
    suffix = Path(path).suffix.lower().removeprefix(".")
    return suffix if suffix in ("json", "jsonl", "csv") else {"ndjson": "jsonl"}.get(suffix, "text")


class RecordFile:
    """The file of ``--output-file``. ``answered`` holds the names of images that it answers already."""

    def __init__(self, path: str, format: str, *, resume: bool) -> None:
        if resume and format not in RESUMABLE:
            raise UsageError(f"--resume works with -f {' and -f '.join(RESUMABLE)}, not with {format}")
        if os.path.isdir(path):
            raise UsageError(f"{path}: a folder; --output-file takes a file")
        self.path, self.format = path, format
        self.part = f"{path}.part" if format in RESUMABLE and is_plain(path) else None
        self.answered: set[str] = set()
        self._kept = ""
        if resume and self.part:
            self._take_up(self.part if os.path.exists(self.part) else path, self.part)

    @property
    def has_header(self) -> bool:
        return bool(self._kept)

    def answers(self, name: str) -> bool:
        return (escape_bytes(name) if self.format == "csv" else name) in self.answered

    def _take_up(self, source: str, part: str) -> None:
        """Copies what is whole and no failure into the new part."""
        try:
            text = Path(source).read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:
            return
        except OSError as error:
            raise AicliError(f"cannot read {source}: {error.strerror}; --resume needs it") from None
        whole = source == self.path
        lines = list(whole_lines(text) if self.format == "jsonl" else whole_rows(text, whole))
        self.answered = {name for name, _ in lines}
        self._kept = "".join(line for _, line in lines)
        if self.format == "csv" and text:
            self._kept = text.partition("\n")[0] + "\n" + self._kept
        fresh = f"{part}.new"
        try:
            Path(fresh).write_text(self._kept, encoding="utf-8", newline="")
            os.replace(fresh, part)
        except OSError as error:
            raise AicliError(f"cannot write {part}: {error.strerror}") from None

    @contextmanager
    def open(self) -> Iterator[TextIO]:
        """The stream for a writer. When the block ends without an error the file gets its name."""
        from aicli.output.pictures.saving import atomic_text_file

        if self.part is None:
            with atomic_text_file(self.path) as stream:
                yield stream
            return
        if not self._kept:
            try:
                open(self.part, "wb").close()
            except OSError as error:
                raise AicliError(f"cannot write {self.part}: {error.strerror}") from None
        with atomic_text_file(self.part, append=True) as stream:
            yield stream
        try:
            os.replace(self.part, os.path.realpath(self.path))
        except OSError as error:
            raise AicliError(f"cannot write {self.path}: {error.strerror}; the records are in {self.part}") from None


def is_plain(path: str) -> bool:
    """Whether the path is, or will be, a regular file; not /dev/stdout or a pipe."""
    return os.path.isfile(path) or not os.path.exists(path)


def whole_lines(text: str) -> Iterator[tuple[str, str]]:
    """Name and line of every complete answer in jsonl; a torn last line is no JSON and falls away."""
    for line in text.split("\n"):
        try:
            record: Any = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("image"), str) and "error" not in record:
            yield record["image"], line + "\n"


def whole_rows(text: str, whole: bool) -> Iterator[tuple[str, str]]:
    """Name and rows of every complete answer in csv; of a part the last image is left out, its rows may lack some."""
    import csv
    import io

    rows = list(csv.reader(io.StringIO(text, newline="")))
    columns = rows[0] if rows else []
    rows = [row for row in rows[1:] if len(row) == len(columns)]
    last = rows[-1][0] if rows and not whole else None
    for row in rows:
        if row[0] == last or row[-1]:
            continue
        line = io.StringIO()
        csv.writer(line).writerow(row)
        yield row[0], line.getvalue()
