"""The cache of compiled modules: native code on disk, so private, verified and bounded.

An entry is a file ``<key>.bin``: a header of 40 bytes (magic, then the SHA-256 of key and code) and the runtime's own
serialised code. The key names the module's bytes, the runtime and the processor, so a stale entry is never found, only
left behind until it is the oldest. Nothing here raises for the disk's sake: where no cache is usable, modules are
compiled.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from aicli._digest import sha256
from aicli._files import TEMPORARY, cache_folder, replacing, wait_for_lock
from aicli._record import Record
from aicli.errors import WriteError

if TYPE_CHECKING:
    from aicli.wasm.runtime import Limits, Module, Runtime

__all__ = ["CacheEntry", "ModuleCache", "default_cache", "load_module"]

MAGIC = b"aicliwc1"
HEADER = len(MAGIC) + 32
SUFFIX = ".bin"
LOCK = "lock"
MAX_BYTES = 256 << 20
STALE = 3600.0
"""Seconds after which a temporary file belongs to nobody, and after which reading an entry marks it as used."""
WAIT = 5.0
"""Seconds to wait for another process that compiles the same module."""

POSIX = sys.platform != "win32"
SAFE_OPEN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
BINARY = getattr(os, "O_BINARY", 0)


class CacheEntry(Record):
    """One compiled module: its key, its size in bytes and when it was last used, in seconds since 1970."""

    key: str
    size: int
    used: float


class UntrustedError(OSError):
    """A folder or file that someone else owns or can write."""


def load_module(
    runtime: Runtime, wasm: bytes, limits: Limits, cache: ModuleCache | None, *, trusted: bool = False
) -> Module:
    """The compiled module, from the cache where it is there and compiled (and kept) where it is not.

    Only what is ``trusted`` is compiled in this process, without a limit on time and memory.

    Raises :class:`aicli.errors.GuestError` when the bytes are no module that can run, or cannot be compiled within
    the limits of :mod:`aicli.wasm.apart`.
    """
    prepared = runtime.prepare(wasm, limits)
    if cache is None:
        return compile_module(runtime, prepared, trusted)[0]
    key = module_key(runtime, prepared)
    module = load_cached(runtime, cache, key)
    if module is not None:
        return module
    with cache.sole_writer(key) as waited:
        if waited:
            module = load_cached(runtime, cache, key)
        if module is None:
            module, code = compile_module(runtime, prepared, trusted)
            cache.write(key, code or module.serialize())
    return module


def compile_module(runtime: Runtime, prepared: bytes, trusted: bool) -> tuple[Module, bytes | None]:
    """The module, and its serialised code where that is known."""
    from aicli.wasm.apart import SMALL, compile_apart

    if trusted or len(prepared) <= SMALL:
        return runtime.compile(prepared), None
    code = compile_apart(runtime, prepared)
    return runtime.deserialize(code), code


def load_cached(runtime: Runtime, cache: ModuleCache, key: str) -> Module | None:
    code = cache.read(key)
    if code is None:
        return None
    try:
        return runtime.deserialize(code)
    except ValueError:
        cache.remove(key)
        return None


def module_key(runtime: Runtime, prepared: bytes) -> str:
    """64 hexadecimal digits that name a module's bytes, the runtime and its version, and the processor."""
    parts = (prepared, runtime.name.encode(), runtime.version.encode(), processor())
    return str(sha256(*(piece for part in parts for piece in (len(part).to_bytes(8, "little"), part))).hexdigest())


def processor() -> bytes:
    """What tells apart the processors that compiled code may run on: the platform and the first core's features."""
    machine = os.uname().machine if hasattr(os, "uname") else os.environ.get("PROCESSOR_ARCHITECTURE", "")
    features = os.environ.get("PROCESSOR_IDENTIFIER", "").encode()
    if sys.platform == "linux":
        features = first_core_features()
    elif sys.platform == "darwin":
        features = os.uname().version.encode()
    return f"{sys.platform} {machine} {sys.maxsize} ".encode() + features


def first_core_features() -> bytes:
    with suppress(OSError):
        descriptor = os.open("/proc/cpuinfo", os.O_RDONLY)
        try:
            # The first core is enough, and the kernel writes no more of them than are read.
            lines = os.read(descriptor, 8192).split(b"\n")
        finally:
            os.close(descriptor)
        wanted = (b"vendor_id", b"cpu family", b"model", b"flags", b"Features", b"CPU part", b"isa")
        return b"\n".join(line for line in dict.fromkeys(lines) if line.split(b"\t")[0].strip() in wanted)
    return b""


def default_cache() -> ModuleCache | None:
    """The user's cache; ``None`` with ``AICLI_NO_CACHE=1``. ``AICLI_CACHE_DIR`` moves it."""
    if os.environ.get("AICLI_NO_CACHE", "0") not in ("", "0"):
        return None
    folder = cache_folder()
    return None if folder is None else ModuleCache(folder / "modules")


class ModuleCache:
    """A folder of compiled modules that only this user can write, of at most ``max_bytes`` bytes.

    Safe for any number of processes at once: entries appear whole or not at all, and the last writer wins.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    def read(self, key: str) -> bytes | None:
        """The code under this key; ``None`` when there is none or it cannot be trusted."""
        try:
            with self._opened() as folder:
                descriptor = os.open(self._at(folder, key + SUFFIX), os.O_RDONLY | SAFE_OPEN | BINARY, dir_fd=folder)
                with os.fdopen(descriptor, "rb", buffering=0) as file:
                    info = os.fstat(descriptor)
                    check_private(info, stat.S_ISREG)
                    if info.st_size > self.max_bytes:
                        raise UntrustedError(0, "it is larger than anything that is kept")
                    data = file.readall()
                    mark_used(descriptor)
        except OSError:
            return None
        code = memoryview(data)[HEADER:]
        if data[:HEADER] != header(key, code):
            self.remove(key)
            return None
        return bytes(code)

    def write(self, key: str, code: bytes) -> bool:
        """Keeps the code, and drops the entries that were not used for longest; says whether it could."""
        if len(code) + HEADER > self.max_bytes:
            return False
        try:
            with self._opened(create=True) as folder:
                with replacing(self._at(folder, key + SUFFIX), mode=0o600, dir_fd=folder) as file:
                    file.write(header(key, memoryview(code)))
                    file.write(code)
                self._shrink(folder)
        except (OSError, WriteError):
            return False
        return True

    def remove(self, key: str) -> None:
        """Forgets one entry."""
        with suppress(OSError), self._opened() as folder:
            self._unlink(folder, key + SUFFIX)

    def entries(self) -> list[CacheEntry]:
        """Every entry, the one used last first; empty when the folder is absent or cannot be trusted."""
        try:
            with self._opened() as folder:
                return self._entries(folder)
        except OSError:
            return []

    def clear(self) -> int:
        """Removes every entry and what was left half-written; the number of bytes that this freed."""
        freed = 0
        with suppress(OSError), self._opened() as folder:
            for name, info in self._files(folder):
                if name.endswith((SUFFIX, TEMPORARY)) and self._unlink(folder, name):
                    freed += info.st_size
        return freed

    def problem(self) -> str | None:
        """Why this folder is not used, in words; ``None`` when it is, or does not exist yet."""
        try:
            with self._opened():
                return None
        except FileNotFoundError:
            return None
        except OSError as error:
            return error.strerror or str(error)

    @contextmanager
    def sole_writer(self, key: str) -> Iterator[bool]:
        """Waits a little while another process compiles the same module; gives whether it had to wait.

        Only saves work: whoever cannot lock, or waits for too long, goes on all the same.
        """
        if not POSIX:
            yield False
            return
        descriptor, waited = -1, False
        try:
            with suppress(OSError), self._opened(create=True) as folder:
                descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | SAFE_OPEN, 0o600, dir_fd=folder)
                # One byte of the lock file per key; the system frees it when the process ends.
                try:
                    waited = wait_for_lock(descriptor, WAIT, int(key[:7], 16))
                except TimeoutError:
                    waited = True
            yield waited
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    @contextmanager
    def _opened(self, create: bool = False) -> Iterator[int | None]:
        """The folder's descriptor (None where the system has none), once it is known to be ours alone."""
        if create:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not POSIX:
            yield None
            return
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | SAFE_OPEN)
        try:
            check_private(os.fstat(descriptor), stat.S_ISDIR)
            yield descriptor
        finally:
            os.close(descriptor)

    def _at(self, folder: int | None, name: str) -> str:
        return name if folder is not None else str(self.folder / name)

    def _unlink(self, folder: int | None, name: str) -> bool:
        try:
            os.unlink(self._at(folder, name), dir_fd=folder)
        except OSError:
            return False
        return True

    def _files(self, folder: int | None) -> list[tuple[str, os.stat_result]]:
        found = []
        for name in os.listdir(folder if folder is not None else self.folder):
            with suppress(OSError):
                info = os.stat(self._at(folder, name), follow_symlinks=False, dir_fd=folder)
                found.append((name, info))
        return found

    def _entries(self, folder: int | None) -> list[CacheEntry]:
        found = [
            CacheEntry(name.removesuffix(SUFFIX), info.st_size, info.st_mtime)
            for name, info in self._files(folder)
            if name.endswith(SUFFIX)
        ]
        return sorted(found, key=lambda entry: -entry.used)

    def _shrink(self, folder: int | None) -> None:
        total = 0
        for entry in self._entries(folder):
            total += entry.size
            if total > self.max_bytes:
                self._unlink(folder, entry.key + SUFFIX)
        for name, info in self._files(folder):
            if name.endswith(TEMPORARY) and time.time() - info.st_mtime > STALE:
                self._unlink(folder, name)


def header(key: str, code: memoryview) -> bytes:
    return MAGIC + bytes(sha256(key.encode(), code).digest())


def check_private(info: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    """Raises :class:`UntrustedError` unless this is ours and nobody else can write it."""
    if not is_kind(info.st_mode):
        raise UntrustedError(0, "it is not what aicli made")
    if POSIX and info.st_uid != os.geteuid():
        raise UntrustedError(0, "it belongs to another user")
    if POSIX and info.st_mode & 0o022:
        raise UntrustedError(0, "other users can write to it")


def mark_used(descriptor: int) -> None:
    """Moves the entry to the end of the queue; seldom, so that reading stays reading."""
    with suppress(OSError, NotImplementedError, TypeError):
        if time.time() - os.fstat(descriptor).st_mtime > STALE:
            os.utime(descriptor)
