"""The folder that a run on a cluster writes: its records in many files, and which photos they answer.

    part-3f….parquet        records, in files that appear whole
    _aicli/run.json         what the run is
    _aicli/writer-….json    which run writes, while it does
    _aicli/part-3f….json    its size, and whose records it holds, a photo each: key, count of records, whether it failed
    _SUCCESS                counts, when the run is complete

What ``_aicli`` says of a file is written before the file, so a file that is there is known, whatever ended the run. A
file is named after its photos: a write that Ray repeats takes its own place. One that is damaged, as a disk that was
cut off or a broken copy leaves it, is not there, and its photos are answered anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from io import BytesIO
from typing import Any, NamedTuple

from aicli.cluster.lease import PREFIX as WRITER
from aicli.cluster.lease import Lease
from aicli.cluster.photos import Current, address_in
from aicli.cluster.storage import PATIENCE, Storage, is_unfinished
from aicli.errors import AicliError, Hint, UsageError
from aicli.output.parquet import write_records

__all__ = ["Answered", "RecordFolder"]

STATE = "_aicli"
RUN = f"{STATE}/run.json"
SUCCESS = "_SUCCESS"
CLEARING = "clearing"
"""In what a run is: the records of the former one are being removed."""
DAMAGED: dict[str, Any] = {}
"""What a run is of which nothing can be read."""
PART = "part-"
OURS = re.compile(r"part-[0-9a-f]{24}\.(parquet|jsonl)")
READERS = 16
"""Files that are read at once: in a bucket each waits for its request."""


class Answered(NamedTuple):
    """A photo in a file of records: its key, how many records it has, whether it failed."""

    key: str
    records: int
    failed: bool


class FileState(NamedTuple):
    """Of a file of records: its bytes, and the photos in it."""

    size: int
    photos: list[Answered]


class RecordFolder:
    """Picklable, so that every node writes into it. ``format`` is ``parquet`` or ``jsonl``."""

    def __init__(self, place: str | Storage, format: str, task: str) -> None:
        self.storage = place if isinstance(place, Storage) else Storage(place)
        self.format, self.task = format, task
        self.photos: dict[str, list[Answered]] = {}
        """What each file that is there holds, when the run began."""
        self.kept: set[str] = set()
        """The keys of the photos that have records, when the run is complete."""

    def __reduce__(self) -> tuple[type[RecordFolder], tuple[Storage, str, str]]:
        return RecordFolder, (self.storage, self.format, self.task)

    def look(self, about: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Whether this run may have the folder; nothing is written.

        ``about`` is what has to be the same in a run that goes on with a former one. Raises :class:`UsageError`.
        """
        self._goes_on({"task": self.task, "format": self.format, **about}, resume, overwrite)

    def begin(self, about: dict[str, Any], *, resume: bool, overwrite: bool) -> set[str]:
        """Takes the folder for this run, which holds :meth:`lease`; returns the keys of the photos answered in it.

        Without ``resume`` the records in it are removed. Raises :class:`UsageError` as :meth:`look` does, and
        :class:`AicliError` when it cannot be written.
        """
        mine = {"task": self.task, "format": self.format, **about}
        goes_on = self._goes_on(mine, resume, overwrite)  # again: another run may have ended since
        self.storage.make(STATE)
        if not goes_on:
            self._write_run(
                {**mine, CLEARING: True}
            )  # else a run that is killed now would be resumed with what is left
            self.storage.remove(SUCCESS)
            for name in self._parts():
                self.storage.remove(name)
            self._forget(())
        self._write_run(mine)
        self.storage.remove(SUCCESS)
        self.photos = self._whole() if goes_on else {}
        return self.answered()

    def lease(self) -> Lease:
        """The right to write into the folder."""
        return Lease(self.storage, STATE, RUN)

    def _goes_on(self, mine: dict[str, Any], resume: bool, overwrite: bool) -> bool:
        """Whether this run goes on with the records that are there. Raises :class:`UsageError`."""
        where = self.storage.address
        names = self.storage.names()
        known = self._known(names)
        if known is DAMAGED:
            if not overwrite:
                reason = "damaged, so that nobody knows what the records beside it are"
                raise UsageError(reason, hint=Hint("overwrite", "begin anew with {}, or name another folder")).of(
                    f"{where}/{RUN}"
                )
            return False
        if known is None:
            if [name for name in names if not is_unfinished(name)] not in ([], [STATE]) or self._holds_other_things():
                raise UsageError(f"{where}: not empty, and no records of aicli's; name another folder")
            return False
        if known.get(CLEARING):
            return False
        if not resume and not overwrite:
            raise UsageError(
                f"{where}: holds the records of a run", hint=Hint("resume", "continue with {}, or name another")
            )
        if resume and known != mine:
            wrong = next(key for key in mine | known if mine.get(key) != known.get(key))
            was, now = (json.dumps(values.get(wrong)) for values in (known, mine))
            raise UsageError(f"{where}: begun with {wrong} {was}, not {now}; resume it as it was")
        return resume

    def _holds_other_things(self) -> bool:
        """In the folder of the state: more than a run leaves that was killed when it had hardly begun."""
        return any(not name.startswith(WRITER) and not is_unfinished(name) for name in self.storage.names(STATE))

    def _write_run(self, about: dict[str, Any]) -> None:
        self.storage.write(RUN, json.dumps(about, sort_keys=True).encode() + b"\n")

    def _known(self, names: Sequence[str]) -> dict[str, Any] | None:
        if STATE not in names or "run.json" not in self.storage.names(STATE):
            return None
        try:
            found = json.loads(self.storage.read(RUN))
        except ValueError:
            found = None
        return found if isinstance(found, dict) else DAMAGED

    def _parts(self) -> list[str]:
        return [name for name in self.storage.names() if OURS.fullmatch(name)]

    def _whole(self) -> dict[str, list[Answered]]:
        """What each file of records holds. Removes those that are not as they were written, or nobody knows of what."""
        sizes, known = self.storage.sizes(), self._read_state()
        for name in self._parts():
            if name not in known or known[name].size != sizes.get(name):
                self.storage.remove(name)
                known.pop(name, None)
        return {name: file.photos for name, file in known.items()}

    def _read_state(self) -> dict[str, FileState]:
        """Of the files of records that are there; those are left out of which nothing can be read."""
        known = set(self.storage.names(STATE))
        names = [name for name in self._parts() if state_of(name).rpartition("/")[2] in known]
        with ThreadPoolExecutor(READERS) as readers:
            found = zip(names, readers.map(self._state, names), strict=True)
            return {name: state for name, state in found if state is not None}

    def _state(self, name: str) -> FileState | None:
        try:
            size, photos = json.loads(self.storage.read(state_of(name)))
            return FileState(size, [Answered(*photo) for photo in photos])
        except (ValueError, TypeError):
            return None

    def answered(self) -> set[str]:
        """The keys of photos that have an answer; those that failed are tried again."""
        return {photo.key for photos in self.photos.values() for photo in photos if not photo.failed}

    def write(self, photos: Sequence[Answered], lines: Iterable[str], run: str) -> str:
        """Writes a file of records, lines of JSON in the order of ``photos``; returns its name.

        ``run`` tells this run from others of the same photos: what it writes twice, it writes under one name.
        """
        if self.format == "jsonl":
            return self._put(photos, "".join(f"{line}\n" for line in lines).encode(), run)
        file = BytesIO()
        write_records(lines, file, self.task)
        return self._put(photos, file.getvalue(), run)

    def _put(self, photos: Sequence[Answered], data: bytes, salt: str) -> str:
        digest = blake2b(json.dumps(photos).encode(), digest_size=12, key=salt.encode())
        name = f"{PART}{digest.hexdigest()}.{self.format}"
        self.storage.write(state_of(name), json.dumps(FileState(len(data), list(photos))).encode(), PATIENCE)
        self.storage.write(name, data, PATIENCE)
        return name

    def finish(self, current: Current) -> dict[str, int]:
        """Leaves each photo the records of one answer, writes ``_SUCCESS`` and returns its counts.

        A photo that failed in one run and was answered in the next has two, and so has one that changed in between;
        and so may have one that was written by a run that had lost sight of its driver. Raises :class:`AicliError`
        where a photo has none.
        """
        state = self._read_state()
        best: dict[str, tuple[bool, bool, str, str]] = {}
        for name, file in state.items():
            for photo in file.photos:
                address = address_in(photo.key)
                rank = (not current.holds(photo.key), photo.failed, name, photo.key)
                best[address] = min(best.get(address, rank), rank)
        missing = len(current.keys.difference(rank[-1] for rank in best.values()))
        if missing:
            reason = f"{missing} of the photos have no record; look whether all nodes share this folder"
            raise AicliError(reason).of(self.storage.address)
        changed = False
        for name, file in state.items():
            kept = [best[address_in(photo.key)][2:] == (name, photo.key) for photo in file.photos]
            if not all(kept):
                self._keep(name, file.photos, kept)
                changed = True
        if changed:
            state = self._read_state()
        self._forget(state)
        self._clear(state)
        every = [photo for file in state.values() for photo in file.photos]
        self.kept = {photo.key for photo in every}
        counts = {
            "photos": len(every),
            "failed": sum(photo.failed for photo in every),
            "records": sum(photo.records for photo in every),
            "files": len(state),
        }
        self.storage.write(SUCCESS, json.dumps(counts).encode() + b"\n")
        return counts

    def _keep(self, name: str, photos: Sequence[Answered], kept: Sequence[bool]) -> None:
        """Writes a file anew without some of its photos. The new one is there before the old one goes."""
        rest = [photo for photo, stays in zip(photos, kept, strict=True) if stays]
        if rest:
            rows = [stays for photo, stays in zip(photos, kept, strict=True) for _ in range(photo.records)]
            self._put(rest, chosen(self.storage.read(name), rows, self.format), name)
        self.storage.remove(name)

    def _forget(self, state: Iterable[str]) -> None:
        """Removes what is said of files that are not there."""
        kept = {state_of(name).rpartition("/")[2] for name in state}
        for name in self.storage.names(STATE):
            if name.startswith(PART) and name not in kept:
                self.storage.remove(f"{STATE}/{name}")

    def _clear(self, state: Iterable[str]) -> None:
        """Removes what processes that were killed have left: unfinished files, and a file of records that came to be
        after its run was forgotten. Each photo has its records elsewhere."""
        known = set(state)
        for folder in ("", STATE):
            for name in self.storage.names(folder):
                if is_unfinished(name) or (not folder and OURS.fullmatch(name) and name not in known):
                    self.storage.remove(f"{folder}/{name}" if folder else name)


def state_of(name: str) -> str:
    return f"{STATE}/{name.rpartition('.')[0]}.json"


def chosen(data: bytes, rows: Sequence[bool], format: str) -> bytes:
    """A file of records with only some of its rows."""
    if format == "jsonl":
        lines = data.split(b"\n")[: len(rows)]
        return b"".join(line + b"\n" for line, stays in zip(lines, rows, strict=True) if stays)
    import pyarrow.parquet as pq

    file = BytesIO()
    pq.write_table(pq.read_table(BytesIO(data)).filter(list(rows)), file, compression="zstd")
    return file.getvalue()
