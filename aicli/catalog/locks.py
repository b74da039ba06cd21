"""A lock between processes: a file that one of them holds locked; the system frees it when that process ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aicli.errors import AicliError

__all__ = ["file_lock"]

POLL = 0.1  # seconds between two attempts
PATIENCE = 3600.0  # seconds; another process may be pulling a large model over a slow line


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Holds the lock while the block runs. The file stays: removing it would let two processes lock two files."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as error:
        raise AicliError(f"cannot write to the folder of models {path.parent}: {error.strerror or error}") from None
    try:
        deadline = time.monotonic() + PATIENCE
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise AicliError(f"another process has held {path} for an hour; end it and try again")
            time.sleep(POLL)
        yield
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # a network file system without locks: better no lock than no model
        return True
