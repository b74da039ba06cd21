"""What a run has begun: the names that it chose, written down before anything is done under them.

``--resume`` reads it, so that a run that was ended in the middle goes on with the names it had: a picture without a
record is known for its own and not written twice, and a photo that was moved without a record gets it.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import IO, Any

from aicli.errors import AicliError, UsageError

__all__ = ["PREFIX", "Plan", "remove_parts"]

PREFIX = ".aicli-"


class Plan:
    """``FILE.plan`` beside ``FILE.part``: a JSON object a line. Gone when the run is complete.

    Without a path, for a run that nobody can resume, only the names of unfinished files are made here.
    """

    def __init__(self, path: str | None = None, *, resume: bool = False) -> None:
        self.path = path
        self.run = os.urandom(5).hex()
        self.former_runs: list[str] = []
        self._begun: dict[tuple[str, str], deque[Any]] = {}
        self._parts = 0
        self._file: IO[bytes] | None = None
        self._kept: list[dict[str, Any]] = []
        if path is not None and os.path.lexists(path):
            entries = read_entries(path)
            if entries is None:
                raise UsageError(f"{path}: not one of aicli's files, but one would be written here; move it away")
            if resume:
                self._take_up(entries)

    def _take_up(self, entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            if isinstance(entry.get("run"), str):
                self.former_runs.append(entry["run"])
            elif isinstance(entry.get("image"), str):
                self._kept.append(entry)
                for kind, what in entry.items():
                    self._begun.setdefault((entry["image"], kind), deque()).append(what)

    def entries(self) -> Iterator[dict[str, Any]]:
        """What a former run has begun, in its order."""
        return iter(self._kept)

    def begun(self, image: str, kind: str) -> Any:
        """What a former run began with an image, and has not been asked for yet: ``picture``, ``crops``, ``group``."""
        waiting = self._begun.get((image, kind))
        return waiting.popleft() if waiting else None

    def part(self) -> str:
        """A name for an unfinished file that no other has."""
        self._parts += 1
        return f"{PREFIX}{self.run}-{self._parts}.part"

    def write(self, image: str, what: dict[str, Any], *, sync: bool = False) -> None:
        """Writes down what is begun with an image; with ``sync`` it is on the disk afterwards."""
        if self.path is None:
            return
        try:
            if self._file is None:
                self._file = self._open()
            self._line({"image": image, **what})
            if sync:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror}") from None

    def _open(self) -> IO[bytes]:
        """A new file with what the former one says; that one stays until the new is whole."""
        assert self.path is not None
        fresh = f"{self.path}.{self.run}"
        self._file = open(fresh, "xb")  # noqa: SIM115 - closed with the plan
        for run in (*self.former_runs, self.run):
            self._line({"run": run})
        for entry in self._kept:
            self._line(entry)
        os.replace(fresh, self.path)
        return self._file

    def _line(self, entry: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(entry).encode() + b"\n")  # ASCII: also names that are no UTF-8 survive
        self._file.flush()

    def close(self, *, complete: bool) -> None:
        """Ends writing; a complete run needs its plan no more."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        if complete and self.path is not None and (self._file is not None or self.former_runs):
            with suppress(OSError):
                os.unlink(self.path)


def read_entries(path: str) -> list[dict[str, Any]] | None:
    """The lines of a plan, a torn one left out; ``None`` when the file is none. Raises :class:`AicliError`."""
    entries: list[dict[str, Any]] = []
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file):
                try:
                    entry = json.loads(line)
                except ValueError:
                    entry = None
                if isinstance(entry, dict):
                    entries.append(entry)
                if number == 0 and not (isinstance(entry, dict) and "run" in entry):
                    return None
    except OSError as error:
        raise AicliError(f"cannot read {path}: {error.strerror}; --resume needs it") from None
    return entries


def remove_parts(folders: Iterable[str], runs: Iterable[str]) -> None:
    """Removes the unfinished files of runs that have ended."""
    starts = tuple(f"{PREFIX}{run}-" for run in runs)
    for folder in folders if starts else ():
        with suppress(OSError):
            for name in os.listdir(folder):
                if name.startswith(starts) and name.endswith(".part"):
                    os.unlink(os.path.join(folder, name))
