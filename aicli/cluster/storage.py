"""A folder on a disk that all nodes share, or in a bucket: small files that appear whole or not at all."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

from aicli._files import naming, replacing
from aicli._text import shown
from aicli.errors import AicliError
from aicli.image.buckets import is_in_bucket, opened
from aicli.image.reading import one_line

__all__ = ["PATIENCE", "Storage", "is_unfinished"]

PATIENCE = (2.0, 5.0, 10.0, 20.0)
"""Seconds between attempts to write what has cost work, into a bucket that does not answer; its own package has tried
for a quarter of a minute by then."""

UNFINISHED = re.compile(r"\.aicli-[0-9a-f]+\.tmp|.+\.unfinished-[0-9a-f]{8}")
"""Names of files that are being written, on a disk and in HDFS."""


class BucketAway(AicliError):
    """A bucket does not answer, or not as it should: it may be asked again."""


class Storage:
    """The files of a folder, by their names in it. Picklable; every error is an :class:`AicliError` of one line."""

    def __init__(self, address: str, root: str | None = None) -> None:
        self.address = address.rstrip("/") or address
        self._bucket = is_in_bucket(address)
        self._root = root or (self.address if self._bucket else os.path.abspath(self.address))
        """The address wherever it is used: a node works in another folder than the command."""

    def __reduce__(self) -> tuple[type[Storage], tuple[str, str]]:
        return Storage, (self.address, self._root)

    def path(self, name: str = "") -> str:
        return f"{self._root.rstrip('/')}/{name}" if name else self._root

    def names(self, folder: str = "") -> list[str]:
        """What lies in the folder or one in it, folders too; nothing where there is none."""
        return sorted(self.sizes(folder))

    def sizes(self, folder: str = "") -> dict[str, int | None]:
        """The same with the bytes of each file, as far as they are told."""
        where = self.path(folder)
        with self._naming(where):
            if not self._bucket:
                return disk_sizes(where)
            system, path = self._system, self._inside(where)
            system.invalidate_cache()
            try:
                found = system.ls(path, detail=True)
            except FileNotFoundError:
                return {}
            named = {entry["name"].rstrip("/")[len(path.rstrip("/")) + 1 :]: entry.get("size") for entry in found}
            return {name: size for name, size in named.items() if name}

    def make(self, folder: str = "") -> None:
        """Makes the folder, or one in it, on a disk; not by the nodes, which might have another disk."""
        if not self._bucket:
            where = self.path(folder)
            with naming(where):
                os.makedirs(where, exist_ok=True)

    def write(self, name: str, data: bytes, pauses: Sequence[float] = ()) -> None:
        """Writes a file, which takes the place of another of its name. A bucket that is away is asked again after each
        of the ``pauses``, in seconds."""
        for pause in pauses:
            try:
                return self._write(name, data)
            except BucketAway:
                time.sleep(pause)
        self._write(name, data)

    def _write(self, name: str, data: bytes) -> None:
        where = self.path(name)
        with self._naming(where):
            if not self._bucket:
                with replacing(where, sync=True) as file, naming(where):
                    file.write(data)
            elif self._system.protocol == "hdfs" or "hdfs" in self._system.protocol:
                part = self._inside(f"{where}.unfinished-{os.urandom(4).hex()}")
                self._system.pipe_file(part, data)
                self._system.mv(part, self._inside(where))
            else:
                self._system.pipe_file(self._inside(where), data)  # one request, or several that end in one

    def read(self, name: str) -> bytes:
        where = self.path(name)
        with self._naming(where):
            if not self._bucket:
                with open(where, "rb") as file:
                    return file.read()
            data: bytes = self._system.cat_file(self._inside(where))
            return data

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        where = self.path(name)
        with self._naming(where):
            if not self._bucket:
                return os.path.lexists(where)
            self._system.invalidate_cache()
            try:
                self._system.info(self._inside(where))  # exists() takes every error for a no
            except FileNotFoundError:
                return False
            return True

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        where = self.path(name)
        with self._naming(where):
            try:
                if self._bucket:
                    self._system.rm_file(self._inside(where))
                else:
                    os.unlink(where)
            except FileNotFoundError:
                pass
            except Exception:
                if self.has(name):  # HDFS has one error for all
                    raise

    @cached_property
    def _system(self) -> Any:
        return opened(self.address)[0]

    def _inside(self, where: str) -> str:
        path: str = self._system._strip_protocol(where)
        return path

    @contextmanager
    def _naming(self, where: str) -> Iterator[None]:
        """What a disk or a bucket's own package raises, as one line that names the file."""
        try:
            yield
        except AicliError:
            raise
        except PermissionError as error:
            reason = f"no permission ({one_line(error)}); check the credentials and the rights"
            raise AicliError(reason).of(shown(where)) from None
        except Exception as error:  # each package has errors of its own: botocore's, Google's, Azure's, Arrow's
            reason = f"cannot be read or written ({one_line(error)}); check the address and the credentials"
            raise BucketAway(reason).of(shown(where)) from None


def disk_sizes(folder: str) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    if os.path.lexists(folder):
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another process may be at its end
                    found[entry.name] = entry.stat(follow_symlinks=False).st_size
    return found


def is_unfinished(name: str) -> bool:
    """Whether a file is what a process has left that was ended while it wrote."""
    return UNFINISHED.fullmatch(name) is not None
