"""The files and folders of WASI preview 1: descriptors, and the ``fd_`` and ``path_`` functions.

A descriptor has what its open asked for and its folder grants: a file below a read-only folder is never written.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aicli.wasm.runtime import Memory
from aicli.wasm.wasi_abi import (
    DIRENT,
    FDSTAT,
    Errno,
    FdFlags,
    FileType,
    OFlags,
    Rights,
    WasiError,
    file_type,
    filestat,
)
from aicli.wasm.wasi_paths import NO_FOLLOW, parent_of

__all__ = ["Descriptor", "WasiFiles"]

MAX_DESCRIPTORS = 512
MAX_PATH = 4096
MAX_VECTORS = 256
FOLLOW = 1
ATIME, ATIME_NOW, MTIME, MTIME_NOW = 1, 2, 4, 8


@dataclass
class Descriptor:
    """What a guest's descriptor stands for; ``preopen`` is a granted folder's path in the guest."""

    fd: int
    readable: bool = True
    writable: bool = False
    read_only: bool = False
    is_stream: bool = False
    preopen: bytes | None = None
    flags: int = 0
    listing: list[tuple[bytes, int, int]] = field(default_factory=list)

    @property
    def is_folder(self) -> bool:
        return not self.is_stream and stat.S_ISDIR(os.fstat(self.fd).st_mode)


class WasiFiles:
    """A guest's descriptors; ``memory`` is set as soon as the instance has one."""

    def __init__(self) -> None:
        self.memory: Memory | None = None
        self.descriptors: dict[int, Descriptor] = {}

    def add(self, descriptor: Descriptor) -> int:
        """Gives a descriptor the lowest free number, as POSIX does."""
        if len(self.descriptors) >= MAX_DESCRIPTORS:
            os.close(descriptor.fd)
            raise WasiError(Errno.MFILE)
        number = next(free for free in range(MAX_DESCRIPTORS) if free not in self.descriptors)
        self.descriptors[number] = descriptor
        return number

    def get(self, number: int) -> Descriptor:
        found = self.descriptors.get(number)
        if found is None:
            raise WasiError(Errno.BADF)
        return found

    # Guest memory

    def view(self, pointer: int, length: int) -> NDArray[np.uint8]:
        if self.memory is None:
            raise WasiError(Errno.FAULT)
        return self.memory.view(pointer, length)

    def read(self, pointer: int, length: int) -> bytes:
        return self.view(pointer, length).tobytes()

    def write(self, pointer: int, data: bytes) -> None:
        self.view(pointer, len(data))[:] = np.frombuffer(data, np.uint8)

    def write_u32(self, pointer: int, value: int) -> None:
        self.write(pointer, value.to_bytes(4, "little"))

    def write_u64(self, pointer: int, value: int) -> None:
        self.write(pointer, value.to_bytes(8, "little"))

    def _path(self, pointer: int, length: int) -> str:
        if length > MAX_PATH:
            raise WasiError(Errno.NAMETOOLONG)
        return self.read(pointer, length).decode()

    def _vectors(self, pointer: int, count: int) -> list[Any]:
        """The blocks of an iovec array; those beyond the limit are left for the guest's next call."""
        count = min(count, MAX_VECTORS)
        flat = struct.unpack(f"<{2 * count}I", self.read(pointer, 8 * count))
        return [self.view(start, length) for start, length in zip(flat[::2], flat[1::2], strict=True) if length]

    # Descriptors

    def fd_close(self, number: int) -> None:
        descriptor = self.get(number)
        del self.descriptors[number]
        if not descriptor.is_stream:
            os.close(descriptor.fd)

    def fd_renumber(self, number: int, target: int) -> None:
        descriptor = self.get(number)
        self.get(target)
        if number != target:
            self.fd_close(target)
            self.descriptors[target] = descriptor
            del self.descriptors[number]

    def fd_read(self, number: int, vectors: int, count: int, out: int) -> None:
        descriptor = self._readable(number)
        blocks = self._vectors(vectors, count)
        self.write_u32(out, os.readv(descriptor.fd, blocks) if blocks else 0)

    def fd_write(self, number: int, vectors: int, count: int, out: int) -> None:
        descriptor = self._writable(number)
        blocks = self._vectors(vectors, count)
        self.write_u32(out, os.writev(descriptor.fd, blocks) if blocks else 0)

    def fd_pread(self, number: int, vectors: int, count: int, offset: int, out: int) -> None:
        descriptor = self._seekable(self._readable(number))
        blocks = self._vectors(vectors, count)
        self.write_u32(out, os.preadv(descriptor.fd, blocks, offset) if blocks else 0)

    def fd_pwrite(self, number: int, vectors: int, count: int, offset: int, out: int) -> None:
        descriptor = self._seekable(self._writable(number))
        blocks = self._vectors(vectors, count)
        self.write_u32(out, os.pwritev(descriptor.fd, blocks, offset) if blocks else 0)

    def fd_seek(self, number: int, offset: int, whence: int, out: int) -> None:
        descriptor = self._seekable(self.get(number))
        signed = offset - (1 << 64) if offset >> 63 else offset
        if whence > 2:
            raise WasiError(Errno.INVAL)
        self.write_u64(out, os.lseek(descriptor.fd, signed, (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END)[whence]))

    def fd_tell(self, number: int, out: int) -> None:
        self.write_u64(out, os.lseek(self._seekable(self.get(number)).fd, 0, os.SEEK_CUR))

    def _readable(self, number: int) -> Descriptor:
        descriptor = self.get(number)
        if not descriptor.readable:
            raise WasiError(Errno.BADF)
        return descriptor

    def _writable(self, number: int) -> Descriptor:
        descriptor = self.get(number)
        if not descriptor.writable:
            raise WasiError(Errno.BADF)
        return descriptor

    def _seekable(self, descriptor: Descriptor) -> Descriptor:
        if descriptor.is_stream:
            raise WasiError(Errno.SPIPE)
        return descriptor

    def fd_fdstat_get(self, number: int, out: int) -> None:
        descriptor = self.get(number)
        kind = file_type(os.fstat(descriptor.fd).st_mode)
        rights = Rights.ALL
        if descriptor.is_stream:
            # What tells a terminal from a file, the way the C library asks.
            rights &= ~(Rights.FD_SEEK | Rights.FD_TELL)
        if kind != FileType.DIRECTORY:
            rights &= ~(0 if descriptor.readable else Rights.FD_READ)
            rights &= ~(0 if descriptor.writable else Rights.FD_WRITE)
        self.write(out, FDSTAT.pack(kind, descriptor.flags, int(rights), int(rights)))

    def fd_fdstat_set_flags(self, number: int, flags: int) -> None:
        descriptor = self.get(number)
        if flags & ~(FdFlags.APPEND | FdFlags.NONBLOCK):
            raise WasiError(Errno.NOTSUP)
        if descriptor.is_stream and flags:
            # Streams are shared with the shell and everyone after us.
            raise WasiError(Errno.NOTSUP)
        import fcntl

        system = os.O_APPEND * bool(flags & FdFlags.APPEND) | os.O_NONBLOCK * bool(flags & FdFlags.NONBLOCK)
        if not descriptor.is_stream:
            fcntl.fcntl(descriptor.fd, fcntl.F_SETFL, system)
        descriptor.flags = flags

    def fd_fdstat_set_rights(self, number: int, _base: int, _inheriting: int) -> None:
        self.get(number)

    def fd_filestat_get(self, number: int, out: int) -> None:
        self.write(out, filestat(os.fstat(self.get(number).fd)))

    def fd_filestat_set_size(self, number: int, size: int) -> None:
        os.ftruncate(self._seekable(self._writable(number)).fd, size)

    def fd_filestat_set_times(self, number: int, atime: int, mtime: int, flags: int) -> None:
        descriptor = self._seekable(self.get(number))
        if descriptor.read_only:
            raise WasiError(Errno.PERM)
        os.utime(descriptor.fd, ns=wanted_times(os.fstat(descriptor.fd), atime, mtime, flags))

    def fd_allocate(self, number: int, offset: int, length: int) -> None:
        descriptor = self._seekable(self._writable(number))
        os.posix_fallocate(descriptor.fd, offset, length)

    def fd_advise(self, number: int, _offset: int, _length: int, advice: int) -> None:
        self._seekable(self.get(number))
        if advice > 5:
            raise WasiError(Errno.INVAL)

    def fd_sync(self, number: int) -> None:
        os.fsync(self.get(number).fd)

    def fd_datasync(self, number: int) -> None:
        self.fd_sync(number)

    def fd_prestat_get(self, number: int, out: int) -> None:
        self.write(out, struct.pack("<II", 0, len(self._preopen(number))))

    def fd_prestat_dir_name(self, number: int, buffer: int, size: int) -> None:
        name = self._preopen(number)
        if size < len(name):
            raise WasiError(Errno.NAMETOOLONG)
        self.write(buffer, name)

    def _preopen(self, number: int) -> bytes:
        name = self.get(number).preopen
        if name is None:
            raise WasiError(Errno.BADF)
        return name

    def fd_readdir(self, number: int, buffer: int, size: int, cookie: int, out: int) -> None:
        descriptor = self._folder(number)
        if cookie == 0:
            descriptor.listing = list_folder(descriptor.fd)
        data = bytearray()
        for index, (name, inode, kind) in enumerate(descriptor.listing[cookie:], cookie + 1):
            data += DIRENT.pack(index, inode, len(name), kind) + name
            if len(data) >= size:
                break
        self.write(buffer, bytes(data[:size]))
        self.write_u32(out, min(len(data), size))

    def _folder(self, number: int) -> Descriptor:
        descriptor = self.get(number)
        if not descriptor.is_folder:
            raise WasiError(Errno.NOTDIR)
        return descriptor

    # Paths

    @contextmanager
    def _place(
        self, number: int, path: int, length: int, *, follow: bool = False, change: bool = False
    ) -> Iterator[tuple[int, str]]:
        """The folder and the last component of a guest's path; ``change`` asks for a folder that may be written."""
        descriptor = self._folder(number)
        if change and descriptor.read_only:
            raise WasiError(Errno.PERM)
        with parent_of(descriptor.fd, self._path(path, length), follow=follow) as found:
            yield found

    def path_open(
        self,
        number: int,
        lookup: int,
        path: int,
        length: int,
        oflags: int,
        rights: int,
        _inheriting: int,
        fdflags: int,
        out: int,
    ) -> None:
        folder = self._folder(number)
        self.view(out, 4)
        reads, writes = bool(rights & (Rights.FD_READ | Rights.FD_READDIR)), bool(rights & Rights.FD_WRITE)
        if folder.read_only and oflags & (OFlags.CREATE | OFlags.TRUNCATE):
            raise WasiError(Errno.PERM)
        text = self._path(path, length)
        flags = NO_FOLLOW | system_flags(oflags, fdflags, reads, writes and not oflags & OFlags.DIRECTORY)
        if text.endswith("/"):
            flags |= os.O_DIRECTORY
        follow = bool(lookup & FOLLOW) and not oflags & OFlags.EXCLUSIVE
        with parent_of(folder.fd, text, follow=follow) as (parent, name):
            fd = open_file(name, flags, parent)
        opened = Descriptor(fd, reads, writes, folder.read_only, flags=fdflags)
        if folder.read_only and writes and not opened.is_folder:
            os.close(fd)
            raise WasiError(Errno.PERM)
        if opened.is_folder:
            opened.writable = False
        self.write_u32(out, self.add(opened))

    def path_filestat_get(self, number: int, lookup: int, path: int, length: int, out: int) -> None:
        with self._place(number, path, length, follow=bool(lookup & FOLLOW)) as (parent, name):
            self.write(out, filestat(os.stat(name, dir_fd=parent, follow_symlinks=False)))

    def path_filestat_set_times(
        self, number: int, lookup: int, path: int, length: int, atime: int, mtime: int, flags: int
    ) -> None:
        with self._place(number, path, length, follow=bool(lookup & FOLLOW), change=True) as (parent, name):
            times = wanted_times(os.stat(name, dir_fd=parent, follow_symlinks=False), atime, mtime, flags)
            os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def path_create_directory(self, number: int, path: int, length: int) -> None:
        with self._place(number, path, length, change=True) as (parent, name):
            os.mkdir(name, dir_fd=parent)

    def path_remove_directory(self, number: int, path: int, length: int) -> None:
        with self._place(number, path, length, change=True) as (parent, name):
            os.rmdir(name, dir_fd=parent)

    def path_unlink_file(self, number: int, path: int, length: int) -> None:
        with self._place(number, path, length, change=True) as (parent, name):
            os.unlink(name, dir_fd=parent)

    def path_rename(self, number: int, old: int, old_length: int, target: int, new: int, new_length: int) -> None:
        with (
            self._place(number, old, old_length, change=True) as (old_parent, old_name),
            self._place(target, new, new_length, change=True) as (new_parent, new_name),
        ):
            os.rename(old_name, new_name, src_dir_fd=old_parent, dst_dir_fd=new_parent)

    def path_link(
        self, number: int, lookup: int, old: int, old_length: int, target: int, new: int, new_length: int
    ) -> None:
        # A second name for a file of a read-only folder would make it writable through the other one.
        with (
            self._place(number, old, old_length, follow=bool(lookup & FOLLOW), change=True) as (old_parent, old_name),
            self._place(target, new, new_length, change=True) as (new_parent, new_name),
        ):
            os.link(old_name, new_name, src_dir_fd=old_parent, dst_dir_fd=new_parent, follow_symlinks=False)

    def path_symlink(self, text: int, text_length: int, number: int, path: int, length: int) -> None:
        points_to = self._path(text, text_length)
        if points_to.startswith("/"):
            raise WasiError(Errno.PERM)
        with self._place(number, path, length, change=True) as (parent, name):
            os.symlink(points_to, name, dir_fd=parent)

    def path_readlink(self, number: int, path: int, length: int, buffer: int, size: int, out: int) -> None:
        with self._place(number, path, length) as (parent, name):
            target = os.fsencode(os.readlink(name, dir_fd=parent))[:size]
        self.write(buffer, target)
        self.write_u32(out, len(target))


def system_flags(oflags: int, fdflags: int, reads: bool, writes: bool) -> int:
    flags = (os.O_RDWR if reads else os.O_WRONLY) if writes else os.O_RDONLY
    flags |= os.O_CREAT * bool(oflags & OFlags.CREATE) | os.O_EXCL * bool(oflags & OFlags.EXCLUSIVE)
    flags |= os.O_TRUNC * bool(oflags & OFlags.TRUNCATE) | os.O_DIRECTORY * bool(oflags & OFlags.DIRECTORY)
    flags |= os.O_APPEND * bool(fdflags & FdFlags.APPEND) | os.O_NONBLOCK * bool(fdflags & FdFlags.NONBLOCK)
    return flags | os.O_SYNC * bool(fdflags & (FdFlags.SYNC | FdFlags.DSYNC | FdFlags.RSYNC))


def open_file(name: str, flags: int, parent: int) -> int:
    """Opens one component; a folder that was asked for with the right to write is opened for reading."""
    try:
        return os.open(name, flags, 0o666, dir_fd=parent)
    except IsADirectoryError:
        if flags & (os.O_CREAT | os.O_TRUNC):
            raise
        return os.open(name, flags & ~(os.O_RDWR | os.O_WRONLY) | os.O_DIRECTORY, dir_fd=parent)


def list_folder(fd: int) -> list[tuple[bytes, int, int]]:
    """Name, inode and type of everything in a folder, itself and its parent first."""
    own = os.fstat(fd).st_ino
    found = [(b".", own, int(FileType.DIRECTORY)), (b"..", own, int(FileType.DIRECTORY))]
    for name in sorted(os.listdir(fd)):
        try:
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        found.append((os.fsencode(name), info.st_ino, int(file_type(info.st_mode))))
    return found


def wanted_times(present: os.stat_result, atime: int, mtime: int, flags: int) -> tuple[int, int]:
    import time

    now = time.time_ns()
    first = now if flags & ATIME_NOW else atime if flags & ATIME else present.st_atime_ns
    second = now if flags & MTIME_NOW else mtime if flags & MTIME else present.st_mtime_ns
    return first, second
