"""The private folders of quarantined workers, and how those of a front process that was killed are told and removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

__all__ = ["make_folder", "remove_abandoned", "remove_folder"]

PREFIX = "aicli-worker-"


def make_folder() -> tuple[str, int]:
    """A new folder, and a descriptor that holds its lock for as long as this process has it open."""
    folder = tempfile.mkdtemp(prefix=PREFIX)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return folder, descriptor


def remove_folder(folder: str, descriptor: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)


def remove_abandoned() -> int:
    """Removes our folders that no living process has locked; how many there were.

    A lock rather than a process id in the name: ids are used again, and mean nothing to another container that shares
    the folder for temporary files.
    """
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # not ours, in use, or gone meanwhile
            if path.lstat().st_uid != os.getuid():
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
                removed += 1
            finally:
                os.close(descriptor)
    return removed
