"""The zip that some exporters append to a model file, read where it lies."""

from __future__ import annotations

import io
from typing import Any
from zipfile import ZipFile

from aicli.nn.model_file.flatbuffer import Buffer

__all__ = ["open_appended"]


def open_appended(file: Buffer) -> ZipFile:
    """The zip at the end of these bytes, of which no copy is made; it raises whatever ``zipfile`` raises."""
    return ZipFile(io.BufferedReader(_Stream(file)))


class _Stream(io.RawIOBase):
    """Bytes or a map of a file as a stream."""

    def __init__(self, file: Buffer) -> None:
        self._file, self._size, self._place = file, len(file), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence])
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, target: Any) -> int:
        part = self._file[self._place : self._place + len(target)]
        target[: len(part)] = part
        self._place += len(part)
        return len(part)
