"""The SHA-256 of large model files, computed once for each state of a file and remembered.

A model is checked at every start against the SHA-256 that the catalog names. What is remembered is kept beside the
compiled modules and trusted as they are: only this user could have written it. It holds for one device, inode, size,
time of modification and time of change, all in nanoseconds. Whoever writes to a file moves the last of these, which no
call sets; so a file that was damaged, replaced or changed by a program is always read again. docs/sandbox.md says what
is not noticed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aicli._digest import sha256
from aicli._files import cache_folder
from aicli.wasm.cache import ModuleCache

__all__ = ["remembered_digest"]

LARGE = 1 << 17
"""Bytes from which on looking a checksum up is faster than computing it."""
SETTLED = 2.0
"""Seconds for which a file must have been left alone: the clocks of file systems advance in steps, FAT's by two."""
MOST_KEPT = 1 << 20


def remembered_digest(path: Path, compute: Callable[[], str]) -> str:
    """The SHA-256 of the file in hexadecimal, as ``compute`` gives it now or gave it for this state of the file."""
    before = state(path)
    cache = digest_cache() if before is not None else None
    if before is None or cache is None:
        return compute()
    key = str(sha256(repr((str(path.absolute()), before)).encode()).hexdigest())
    known = cache.read(key)
    if known is not None:
        return known.decode("ascii")
    digest = compute()
    if state(path) == before and time.time_ns() - max(before[-2:]) > SETTLED * 1e9:
        cache.write(key, digest.encode("ascii"))
    return digest


def state(path: Path) -> tuple[int, ...] | None:
    """What changes with every change of a file; ``None`` where nothing does, or the file is small."""
    if sys.platform == "win32":  # whose st_ctime is when the file was made
        return None
    info = path.stat()
    if info.st_size < LARGE:
        return None
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def digest_cache() -> ModuleCache | None:
    folder = cache_folder()
    if os.environ.get("AICLI_NO_CACHE", "0") not in ("", "0") or folder is None:
        return None
    return ModuleCache(folder / "checksums", MOST_KEPT)
