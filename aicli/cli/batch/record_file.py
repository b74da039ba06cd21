"""``--output-file`` and ``--resume``: records that appear under their name when the run is complete.

Meanwhile jsonl and csv grow in ``FILE.part``, line by line, so that a run that is killed can be taken up again; so does
parquet, as jsonl, of which the file is made at the end. The other formats have no use for a part and are written as a
temporary file.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from aicli._files import naming, replacing, wait_for_lock
from aicli._text import escape_bytes
from aicli.cli.batch.plan import Plan
from aicli.errors import AicliError, UsageError
from aicli.output.pictures.places import crop_stem, numbered
from aicli.output.records import Task

__all__ = ["SUFFIXES", "RecordFile", "format_of"]

RESUMABLE = ("jsonl", "csv", "parquet")
FIELDS: dict[Task, tuple[str, str]] = {"classify": ("predictions", "rank"), "detect-faces": ("faces", "face")}
"""What the records of a task have that those of the other lack: in JSON, in csv."""
SUFFIXES = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
LOCKS = sys.platform != "win32"
TEXT_SUFFIXES = ("", ".txt", ".tsv", ".text", ".log")


def format_of(path: str) -> str | None:
    """The format that a file's suffix asks for; ``None`` for one that says nothing of it."""
    suffix = Path(path).suffix.lower()
    return SUFFIXES.get(suffix, "text" if suffix in TEXT_SUFFIXES else None)


class RecordFile:
    """The file of ``--output-file``. ``answered`` holds the images that it answers already, by the
    names that records have.

    No other run gets it between the first look at it and :meth:`close`. Its records are written in ``format``: of a
    file that becomes Parquet in jsonl.
    """

    def __init__(
        self,
        path: str,
        format: str,
        task: Task,
        *,
        resume: bool,
        overwrite: bool = False,
        all_frames: bool = False,
        keeps_records: bool = False,
    ) -> None:
        if resume and format not in RESUMABLE:
            raise UsageError(f"--resume works with -f {', -f '.join(RESUMABLE)}, not with {format}")
        if os.path.isdir(path):
            raise UsageError(f"{path}: a folder; --output-file takes a file")
        self.path, self.format, self._task, self._all_frames = path, format, task, all_frames
        self._becomes_parquet = format == "parquet"
        if self._becomes_parquet:
            from aicli.output.parquet import require_pyarrow

            require_pyarrow()
            if not is_plain(path):
                raise UsageError(f"{path}: a pipe or device; Parquet goes to a file, or without -O to standard output")
            self.format = "jsonl"
        self.part = f"{path}.part" if self.format in RESUMABLE and is_plain(path) else None
        self.answered: set[str] = set()
        self.records: dict[str, list[dict[str, Any]]] | None = {} if keeps_records else None
        """Of each image that is answered, where they are asked for."""
        self._models: set[str] = set()
        self._named: dict[str, list[tuple[str, str]]] = {}
        self._kept = ""
        self._plan: Plan | None = None
        self._refused = False
        self._continues = False
        self._lock: int | None = None
        if self.part is None:
            return
        try:
            self._claim(self.part, may_replace=resume or overwrite)
            if resume:
                self._take_up(self.part if self._continues else path)
        except BaseException:
            self.close()
            raise

    def _claim(self, part: str, *, may_replace: bool) -> None:
        """A part is only taken for one that is aicli's, and never thrown away with records in it."""
        foreign = f"{part}: not one of aicli's files, but the records are written there first; move it away"
        if os.path.lexists(part) and (os.path.islink(part) or not os.path.isfile(part)):
            raise UsageError(foreign)
        self._lock = lock_part(part)
        text = read(part) if os.path.exists(part) else ""
        if text and not (text[0] == "{" if self.format == "jsonl" else text.startswith("image,")):
            raise UsageError(foreign)
        self._continues = bool(text)  # an empty one says nothing, and the file itself may have records
        if not may_replace and any(True for _ in self._whole(text, whole=False)):
            raise UsageError(f"{part}: records of an interrupted run; continue with --resume, or --overwrite them")

    def close(self) -> None:
        """Lets other runs have the file; a part that nothing was written to goes."""
        lock, self._lock = self._lock, None
        if lock is None or self.part is None:
            return
        with suppress(OSError):
            if os.fstat(lock).st_size == 0 and is_at(lock, self.part):
                os.unlink(self.part)
        os.close(lock)

    def _whole(self, text: str, *, whole: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
        lines = whole_lines(text) if self.format == "jsonl" else whole_rows(text, whole)
        return of_whole_images(list(lines), self.format, text) if self._all_frames else lines

    @property
    def has_header(self) -> bool:
        return bool(self._kept)

    @property
    def columns(self) -> list[str]:
        """Of a csv that is continued."""
        return self._kept.partition("\n")[0].strip().split(",") if self.format == "csv" and self._kept else []

    def answers(self, name: str) -> bool:
        return escape_bytes(name) in self.answered

    def _take_up(self, source: str) -> None:
        """Reads what is whole and no failure, for the new part: that is made when there is something to add."""
        text = self._read(source) if os.path.exists(source) else ""
        if self.format == "csv" and text and text.startswith("image,frame,") != self._all_frames:
            kind, other = ("a record for each frame", "not") if not self._all_frames else ("one record a file", "now")
            raise UsageError(
                f"{source}: written with {kind}, which --all-frames does {other} ask for; resume it as it was"
            )
        lines = [text.partition("\n")[0] + "\n"] if self.format == "csv" and text else []
        for header in lines:
            self._check_task(source, header.strip().split(","))
        for name, line, record in self._whole(text, whole=source == self.path):
            self._check_task(source, record)
            if isinstance(model := record.get("model"), str):
                self._models.add(model)
            self.answered.add(name)
            self._name_files(name, record)
            self._keep(name, record)
            lines.append(line)
        self._kept = "".join(lines)

    def _check_task(self, source: str, record: Collection[str]) -> None:
        """Raises :class:`UsageError` for a record, or the columns of a csv, of the other task."""
        for task, fields in FIELDS.items():
            if task != self._task and any(field in record for field in fields):
                raise UsageError(
                    f"{source}: its records are those of aicli {task}; resume it so, or choose another file"
                )

    def check_model(self, model: str) -> None:
        """Raises :class:`UsageError` where the records that are continued are of another model than this answer."""
        if self._models and model not in self._models:
            self._refused = True
            known = ", ".join(sorted(self._models))
            problem = f"{self.path}: its records are of the model {known}, and this run's model is {model}"
            raise UsageError(f"{problem}; resume it with the same model, or choose another file")

    @property
    def hides_model(self) -> bool:
        """Whether records are continued that do not say their model."""
        return self.format == "csv" and bool(self.answered)

    @property
    def is_begun(self) -> bool:
        """Whether there is a part that --resume goes on with."""
        return self.part is not None and os.path.isfile(self.part) and os.path.getsize(self.part) > 0

    @property
    def is_untouched(self) -> bool:
        """Whether the run was refused, and what it has made beside the file is of no use to another."""
        return self._refused and not self._continues and not (self._plan is not None and self._plan.former_runs)

    def _keep(self, name: str, record: dict[str, Any]) -> None:
        if self.records is not None:
            self.records.setdefault(name, []).append(record)

    def groups(self) -> dict[str, str]:
        """Where the photos are that the records or the plan say were put into groups."""
        found = {image: path for image, named in self._named.items() for kind, path in named if kind == "group"}
        for entry in self._plan.entries() if self._plan is not None else ():
            if isinstance(entry.get("group"), str):
                found[escape_bytes(entry["image"])] = entry["group"]
        return found

    def _read(self, source: str) -> str:
        """The records of a file or its part, as they were written."""
        if self._becomes_parquet and source == self.path:
            from aicli.output.parquet import read_records

            return "".join(json.dumps(record) + "\n" for record in read_records(source, self._task))
        return read(source)

    def _name_files(self, image: str, record: dict[str, Any]) -> None:
        crops = record.get("crops")
        paths = [("picture", record.get("output")), ("group", record.get("group"))]
        paths += [("crops", crop_stem(path)) for path in crops if isinstance(path, str)][:1] if crops else []
        named = [(kind, path) for kind, path in paths if isinstance(path, str)]
        if named:  # the frames of an image share a picture
            known = self._named.setdefault(image, [])
            known += [found for found in named if found not in known]

    def named_paths(self) -> Iterator[tuple[str, str]]:
        """What the records and the plan name, as kind and path: ``picture``, ``group``, ``crops`` (a stem)."""
        for named in self._named.values():
            yield from named
        for entry in self._plan.entries() if self._plan is not None else ():
            for kind in ("picture", "crops"):
                if kind in entry:
                    folder, name, number = entry[kind]
                    yield kind, os.path.join(folder, numbered(name, number))
            if "group" in entry:
                yield "group", entry["group"]

    def has_named(self, image: str, kind: str) -> bool:
        """Whether the record of an image names a file of this kind."""
        return any(kind == other for other, _ in self._named.get(escape_bytes(image), ()))

    def open_plan(self, *, resume: bool) -> Plan:
        """The plan beside the part; photos that were moved without a record get theirs from it."""
        self._plan = Plan(f"{self.path}.plan", resume=resume)
        for entry in self._plan.entries():
            image, record = entry["image"], entry.get("record")
            moved = os.path.lexists(entry.get("group", "")) and not os.path.lexists(image)
            if isinstance(record, str) and moved and not self.answers(image):
                header, _, rows = record.partition("\n") if self.format == "csv" else ("", "", record)
                self._kept = (self._kept or (header + "\n" if header else "")) + rows
                self.answered.add(escape_bytes(image))
                for name, _, fields in self._whole(record, whole=True):
                    self._keep(name, fields)
        return self._plan

    @contextmanager
    def open(self) -> Iterator[TextIO]:
        """The stream for a writer. When the block ends without an error the file gets its name."""
        from aicli.output.pictures.saving import atomic_text_file

        if self.part is None:
            with atomic_text_file(self.path) as stream:
                yield stream
            return
        self._begin(self.part)
        try:
            with atomic_text_file(self.part, append=True) as stream:
                yield stream
        finally:
            if self.is_untouched:
                os.unlink(self.part)
        self._name(self.part)

    def _begin(self, part: str) -> None:
        """Makes the part one with the records that are kept: at once, since until then it holds the only ones."""
        if not self._kept:
            empty(part)
            return
        lock = None
        try:
            with replacing(part) as file, naming(part):
                file.write(self._kept.encode())
                if LOCKS:  # before it has the name, so that no other run gets it first
                    lock = os.dup(file.fileno())
                    wait_for_lock(lock, 0)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        if self._lock is not None:
            os.close(self._lock)
        self._lock = lock

    def _name(self, part: str) -> None:
        if self._becomes_parquet:
            self._make_parquet(part)
            return
        try:
            os.replace(part, os.path.realpath(self.path))
        except OSError as error:
            raise AicliError(f"cannot write {self.path}: {error.strerror}; the records are in {part}") from None

    def _make_parquet(self, part: str) -> None:
        from aicli.output.parquet import write_records

        try:
            with open(part, encoding="utf-8", newline="\n") as lines, replacing(self.path) as file:
                write_records(lines, file, self._task)
            os.unlink(part)
        except (AicliError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AicliError(f"cannot write {self.path}: {reason}; the records are in {part}") from None


def lock_part(part: str) -> int | None:
    """The part, made if need be, as a descriptor that keeps other runs from it until it is closed.

    Raises :class:`UsageError` where another run has it. There is none on Windows: it would keep its owner from writing
    and renaming the file too.
    """
    while LOCKS:
        with naming(part):
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            wait_for_lock(descriptor, 0)
        except TimeoutError:
            os.close(descriptor)
            how = "wait for its end, or choose another file"
            raise UsageError(f"{part}: another run writes its records there; {how}") from None
        if is_at(descriptor, part):
            return descriptor
        os.close(descriptor)  # the other run has just ended, and this is its file now
    return None


def is_at(descriptor: int, path: str) -> bool:
    """Whether the open file is the one under this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def empty(part: str) -> None:
    with naming(part):
        open(part, "wb").close()


def is_plain(path: str) -> bool:
    """Whether the path is, or will be, a regular file; not /dev/stdout or a pipe."""
    return os.path.isfile(path) or not os.path.exists(path)


def read(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise AicliError(f"cannot read {path}: {error.strerror}; --resume needs it") from None


def whole_lines(text: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, line and record of every complete answer in jsonl; a torn last line is no JSON and falls away."""
    for line in text.split("\n"):
        try:
            record: Any = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("image"), str) and "error" not in record:
            yield escape_bytes(record["image"]), line + "\n", record


def of_whole_images(
    lines: list[tuple[str, str, dict[str, Any]]], format: str, text: str
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The lines of images whose every frame is answered, where all were asked for."""
    failed, seen = set(failures(text, format)), dict[str, set[int]]()
    for name, _, record in lines:
        seen.setdefault(name, set()).add(record.get("frame", 0))
    for name, line, record in lines:
        if name not in failed and (format == "csv" or len(seen[name]) >= record.get("frames", 1)):
            yield name, line, record


def failures(text: str, format: str) -> Iterator[str]:
    """The images that a file of records has an error for."""
    if format == "csv":
        import csv
        import io

        yield from (row[0] for row in csv.reader(io.StringIO(text, newline="")) if len(row) > 1 and row[-1])
        return
    for line in text.split("\n"):
        try:
            record: Any = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "error" in record and isinstance(record.get("image"), str):
            yield escape_bytes(record["image"])


def whole_rows(text: str, whole: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, row and fields of every complete answer in csv.

    Of a part the last image is left out: its rows may lack some.
    """
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
        yield row[0], line.getvalue(), dict(zip(columns, row, strict=True))
