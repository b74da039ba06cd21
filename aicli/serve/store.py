"""Uploads that survive a restart: objects named by their SHA-256, and a small JSON record for each name.

    objects/<sha256>          never changed once it is there
    models/<name>.json        {"name", "model": sha256, "labels": sha256 or null, ...}
    functions/<id>.json       {"id", "sha256", "code": sha256 of its compiled code or null, ...}

Every file appears complete or not at all. No name reaches the file system unless it matches the pattern for names.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from aicli._files import TEMPORARY, write_file
from aicli.errors import Hint, UsageError, WriteError
from aicli.serve.http.params import NAME
from aicli.serve.http.problems import Problem

__all__ = ["Store", "checked", "now"]

KINDS = {"models": ("model", "labels"), "functions": ("sha256", "code")}
"""The kinds of records, with the fields that name objects."""
MAX_RECORDS = 200
UNFINISHED = (TEMPORARY, ".part")
"""How the names of unfinished files end; the second is of former versions."""


class Store:
    """Records and objects under one folder, which nobody else may read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._inside = False
        self._changed = False

    def prepare(self) -> None:
        """Makes the folders. Raises :class:`UsageError` when that cannot be done."""
        try:
            for name in ("objects", *KINDS):
                (self.folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.locked():
                for ending in UNFINISHED:  # left by a crash
                    for part in self.folder.glob(f"*/*{ending}"):
                        part.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot keep uploads in {self.folder}: {error.strerror}", hint=Hint("data", "give another {}")
            ) from None

    def records(self, kind: str) -> list[dict[str, Any]]:
        """All complete records of a kind, by name."""
        found = (self._read(path) for path in sorted((self.folder / kind).glob("*.json")))
        return [record for record in found if record is not None]

    def has(self, kind: str, name: str) -> bool:
        """Whether there is a record of this name, as far as can be told without reading it."""
        return os.path.exists(f"{self.folder}/{kind}/{checked(name)}.json")

    def record(self, kind: str, name: str) -> dict[str, Any] | None:
        return self._read(self.folder / kind / f"{checked(name)}.json")

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            record = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def object(self, digest: str) -> bytes:
        """The bytes of an object, verified. Raises :class:`Problem` 500 when they are damaged."""
        if len(digest) != 64 or not digest.isalnum():
            raise Problem(500, "damaged", "a record names no object; upload it again")
        try:
            content = (self.folder / "objects" / digest).read_bytes()
        except OSError:
            raise Problem(500, "damaged", "the upload's content is gone; upload it again") from None
        if sha256(content).hexdigest() != digest:
            raise Problem(500, "damaged", "the upload's content is damaged; upload it again")
        return content

    @contextlib.contextmanager
    def locked(self) -> Iterator[Store]:
        """The store with nobody else in it: no thread, and no other service that keeps its uploads here.

        Objects that no record names are removed at the end of a change, and at no other time, so that what is put
        between two records is never taken for something forgotten.
        """
        with self._lock:
            if self._inside:
                yield self
                return
            with open(self.folder / "lock", "ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._inside = True
                try:
                    yield self
                finally:
                    self._inside = False
                    if self._changed:
                        self._collect()
                        self._changed = False

    def read(self, kind: str, name: str) -> tuple[dict[str, Any], dict[str, bytes]] | None:
        """A record and the objects it names, by field, as they are at one moment.

        Raises :class:`Problem` 500 when an object is damaged.
        """
        with self.locked():
            record = self.record(kind, name)
            if record is None:
                return None
            return record, {field: self.object(record[field]) for field in KINDS[kind] if record.get(field)}

    def put_object(self, content: bytes) -> str:
        """Keeps an object; one that is there and damaged is written anew."""
        digest = sha256(content).hexdigest()
        path = self.folder / "objects" / digest
        with self.locked():
            if not is_intact(path, content):
                self._write(path, content)
            self._changed = True
        return digest

    def put_record(self, kind: str, name: str, record: dict[str, Any]) -> None:
        """Adds or replaces a record. Raises :class:`Problem` 507 when there are too many."""
        path = self.folder / kind / f"{checked(name)}.json"
        with self.locked():
            if not path.is_file() and sum(1 for _ in path.parent.glob("*.json")) >= MAX_RECORDS:
                raise Problem(507, "full", f"{MAX_RECORDS} {kind} are kept already; delete some")
            self._write(path, json.dumps(record).encode())
            self._changed = True

    def delete(self, kind: str, name: str) -> bool:
        path = self.folder / kind / f"{checked(name)}.json"
        with self.locked():
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            self._changed = True
        return True

    def _collect(self) -> None:
        """Removes objects that no record names. A record that cannot be read may name any: then nothing goes."""
        used: set[str] = set()
        for kind, fields in KINDS.items():
            for path in (self.folder / kind).glob("*.json"):
                record = self._read(path)
                if record is None:
                    return
                used.update(str(record.get(field)) for field in fields)
        for path in (self.folder / "objects").iterdir():
            if path.name not in used and not path.name.endswith(UNFINISHED):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_file(path, content, mode=0o600, sync=True)
        except WriteError as error:
            raise Problem(507, "storage", f"the upload cannot be kept: {error.reason}") from None


def is_intact(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def now() -> str:
    """The moment, as records have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise Problem(404, "not_found", "there is nothing of this name")
    return name
