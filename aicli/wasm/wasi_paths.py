"""Paths of a guest inside a granted folder, without a way out of it.

The system never follows a symbolic link or a ``..`` for a guest: every component is opened by itself, relative to the
folder before it and without following links; links are read and walked here, and ``..`` goes back on our own stack.
Whatever others do to the tree meanwhile, no step can leave the folder.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aicli.wasm.wasi_abi import Errno, WasiError

__all__ = ["NO_FOLLOW", "parent_of", "supported"]

MAX_LINKS = 40
MAX_DEPTH = 256
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
ENTER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | NO_FOLLOW


def supported() -> bool:
    """Whether this system can open files relative to a folder without following links."""
    return os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW") and hasattr(os, "O_DIRECTORY")


@contextmanager
def parent_of(folder: int, path: str, *, follow: bool) -> Iterator[tuple[int, str]]:
    """The descriptor of the folder that holds what ``path`` names, and the last component; ``.`` for a folder itself.

    With ``follow`` a link in the last place is followed too. What the caller then does with the last component must
    not follow links either. Raises :class:`WasiError` for a path that leaves the folder, ``OSError`` otherwise.
    """
    stack = [os.dup(folder)]
    try:
        yield walk(stack, path, follow or path.endswith("/"))
    finally:
        for descriptor in stack:
            os.close(descriptor)


def walk(stack: list[int], path: str, follow: bool) -> tuple[int, str]:
    check_path(path)
    parts, links = deque(path.split("/")), 0
    while parts:
        part = parts.popleft()
        if part in ("", "."):
            continue
        if part == "..":
            if len(stack) == 1:
                raise WasiError(Errno.PERM)
            os.close(stack.pop())
            continue
        last = all(rest in ("", ".") for rest in parts)
        target = read_link(stack[-1], part) if follow or not last else None
        if target is not None:
            links += 1
            if links > MAX_LINKS:
                raise WasiError(Errno.LOOP)
            check_path(target)
            parts.extendleft(reversed(target.split("/")))
        elif last:
            return stack[-1], part
        elif len(stack) > MAX_DEPTH:
            raise WasiError(Errno.NAMETOOLONG)
        else:
            stack.append(os.open(part, ENTER, dir_fd=stack[-1]))
    return stack[-1], "."


def check_path(path: str) -> None:
    if not path:
        raise WasiError(Errno.NOENT)
    if path.startswith("/"):
        raise WasiError(Errno.PERM)
    if "\0" in path:
        raise WasiError(Errno.INVAL)


def read_link(folder: int, name: str) -> str | None:
    """Where a symbolic link points; ``None`` for anything else, and for what is not there."""
    with suppress(FileNotFoundError):
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            try:
                return os.readlink(name, dir_fd=folder)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
    return None
