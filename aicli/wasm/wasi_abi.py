"""WASI preview 1 on the wire: error numbers, rights, flags and records.

Source: WebAssembly/WASI, ``phases/snapshot/witx/wasi_snapshot_preview1.witx``.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from enum import IntEnum, IntFlag

__all__ = [
    "DIRENT",
    "FDSTAT",
    "SUBSCRIPTION",
    "Errno",
    "FdFlags",
    "FileType",
    "OFlags",
    "Rights",
    "WasiError",
    "errno_of",
    "event",
    "file_type",
    "filestat",
]


class Errno(IntEnum):
    """``errno``; the names that a file layer can answer with."""

    SUCCESS = 0
    TOOBIG = 1
    ACCES = 2
    AGAIN = 6
    BADF = 8
    BUSY = 10
    EXIST = 20
    FAULT = 21
    FBIG = 22
    ILSEQ = 25
    INTR = 27
    INVAL = 28
    IO = 29
    ISDIR = 31
    LOOP = 32
    MFILE = 33
    MLINK = 34
    NAMETOOLONG = 37
    NFILE = 41
    NODEV = 43
    NOENT = 44
    NOMEM = 48
    NOSPC = 51
    NOSYS = 52
    NOTDIR = 54
    NOTEMPTY = 55
    NOTSOCK = 57
    NOTSUP = 58
    NXIO = 60
    OVERFLOW = 61
    PERM = 63
    PIPE = 64
    ROFS = 69
    SPIPE = 70
    TXTBSY = 74
    XDEV = 75


class WasiError(Exception):
    """A call that fails with this error number."""

    def __init__(self, errno: Errno) -> None:
        super().__init__(errno.name)
        self.errno = errno


BY_SYSTEM = {getattr(errno, f"E{item.name}"): item for item in Errno if hasattr(errno, f"E{item.name}")}
BY_SYSTEM[errno.E2BIG] = Errno.TOOBIG


def errno_of(error: OSError) -> Errno:
    """The number that a guest sees for an error of the system."""
    return BY_SYSTEM.get(error.errno or 0, Errno.IO)


class FileType(IntEnum):
    UNKNOWN = 0
    BLOCK_DEVICE = 1
    CHARACTER_DEVICE = 2
    DIRECTORY = 3
    REGULAR_FILE = 4
    SOCKET_STREAM = 6
    SYMBOLIC_LINK = 7


class OFlags(IntFlag):
    CREATE = 1
    DIRECTORY = 2
    EXCLUSIVE = 4
    TRUNCATE = 8


class FdFlags(IntFlag):
    APPEND = 1
    DSYNC = 2
    NONBLOCK = 4
    RSYNC = 8
    SYNC = 16


class Rights(IntFlag):
    FD_READ = 1 << 1
    FD_SEEK = 1 << 2
    FD_TELL = 1 << 5
    FD_WRITE = 1 << 6
    FD_READDIR = 1 << 14
    ALL = (1 << 30) - 1


FDSTAT = struct.Struct("<BxH4xQQ")
DIRENT = struct.Struct("<QQIB3x")
SUBSCRIPTION = struct.Struct("<QB7xI4xQQH6x")
"""User data, tag, then of a clock: id, timeout, precision, flags; of a descriptor only the first of these."""
FILESTAT = struct.Struct("<QQB7xQQQQQ")
EVENT = struct.Struct("<QHB5xQH6x")

KINDS = {
    stat.S_IFBLK: FileType.BLOCK_DEVICE,
    stat.S_IFCHR: FileType.CHARACTER_DEVICE,
    stat.S_IFDIR: FileType.DIRECTORY,
    stat.S_IFREG: FileType.REGULAR_FILE,
    stat.S_IFSOCK: FileType.SOCKET_STREAM,
    stat.S_IFLNK: FileType.SYMBOLIC_LINK,
}


def file_type(mode: int) -> FileType:
    return KINDS.get(stat.S_IFMT(mode), FileType.UNKNOWN)


def filestat(info: os.stat_result) -> bytes:
    """The record ``filestat``, 64 bytes."""
    times = (max(0, info.st_atime_ns), max(0, info.st_mtime_ns), max(0, info.st_ctime_ns))
    mask = (1 << 64) - 1
    return FILESTAT.pack(
        info.st_dev & mask, info.st_ino & mask, file_type(info.st_mode), info.st_nlink, info.st_size, *times
    )


def event(userdata: int, error: int, kind: int, available: int = 0) -> bytes:
    """The record ``event``, 32 bytes."""
    return EVENT.pack(userdata, error, kind, available, 0)
