"""Files that appear whole or not at all, locks between processes, and the platform's places for both."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Literal

from aicli.errors import AicliError, WriteError

__all__ = [
    "cache_folder",
    "file_lock",
    "naming",
    "platform_folder",
    "publish",
    "replacing",
    "wait_for_lock",
    "write_file",
]

PathLike = str | os.PathLike[str]

TEMPORARY = ".tmp"
"""How the names of unfinished files end."""
NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EACCES}
POLL = 0.02  # seconds between two attempts to get a lock
PATIENCE = 3600.0  # seconds; another process may be pulling a large model over a slow line


@contextmanager
def replacing(
    path: PathLike, *, mode: int | None = None, sync: bool = False, dir_fd: int | None = None
) -> Iterator[IO[bytes]]:
    """A new file beside ``path`` that takes its place when the block ends without an error, else is removed.

    It has the permissions ``mode``, else those of the file it replaces, else what the user's umask leaves. A symbolic
    link stays one: the file that it names is replaced. Pipes and devices (``/dev/stdout``) are written directly.
    ``sync`` has the bytes on the disk before the name. With ``dir_fd`` the path is a name in that open folder, and
    links are not followed. Raises :class:`WriteError`; what goes wrong in the block keeps its own error.
    """
    inside = dir_fd is not None
    if not inside and os.path.isdir(path):
        raise WriteError(path, "it is a folder; give a file name")
    direct = not inside and os.path.exists(path) and not os.path.isfile(path)
    target = os.fspath(path) if inside else os.path.realpath(path)
    temporary = os.path.join(os.path.dirname(target), f".aicli-{os.urandom(6).hex()}{TEMPORARY}")
    with naming(path):
        create = partial(os.open, mode=0o666 if mode is None else mode, dir_fd=dir_fd)
        file = open(path, "wb") if direct else open(temporary, "xb", opener=create)  # noqa: SIM115 - closed below
    try:
        with closing(file, path):
            yield file
            if sync and not direct:
                with naming(path):
                    file.flush()
                    os.fsync(file.fileno())
        if not direct:
            with naming(path):
                if mode is None and not inside and os.path.exists(target):
                    mode = stat.S_IMODE(os.stat(target).st_mode)
                if mode is not None:
                    os.chmod(temporary, mode, dir_fd=dir_fd)
                os.replace(temporary, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        if not direct:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=dir_fd)
        raise


def write_file(path: PathLike, content: bytes, *, mode: int | None = None, sync: bool = False) -> None:
    """Writes a file as :func:`replacing` does, and makes its folder; a private file (0600) gets a private one.

    Raises :class:`WriteError`.
    """
    with naming(path):
        Path(path).parent.mkdir(mode=0o700 if mode == 0o600 else 0o777, parents=True, exist_ok=True)
    with replacing(path, mode=mode, sync=sync) as file, naming(path):
        file.write(content)


@contextmanager
def closing(file: IO[bytes], path: PathLike) -> Iterator[None]:
    """Closes the file; an error then (a full disk) counts only when the block had none."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            file.close()
        raise
    with naming(path):
        file.close()


@contextmanager
def naming(path: PathLike) -> Iterator[None]:
    """Turns the system's errors, but for a broken pipe, into a :class:`WriteError` that names this file."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        hint = "; make its folder first" if isinstance(error, FileNotFoundError) else ""
        raise WriteError(path, f"{error.strerror or error}{hint}") from error


def publish(part: str, path: str) -> bool:
    """Gives a finished file its name, if nothing has that name; returns whether. Raises :class:`OSError`."""
    if sys.platform == "win32":
        try:
            os.rename(part, path)  # fails where the name exists, unlike elsewhere
        except FileExistsError:
            return False
        return True
    try:
        os.link(part, path, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        try:  # a file system without hard links: an empty file keeps the name for this one
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        os.replace(part, path)
        return True
    os.unlink(part)
    return True


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Holds a lock between processes while the block runs; the system frees it when the process ends.

    The file stays: removing it would let two processes lock two files. Raises :class:`WriteError`, and
    :class:`AicliError` when another process holds the lock for more than an hour.
    """
    with naming(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        try:
            wait_for_lock(descriptor, PATIENCE)
        except TimeoutError:
            raise AicliError(f"another process has held {path} for an hour; end it and try again") from None
        yield
    finally:
        os.close(descriptor)


def wait_for_lock(descriptor: int, patience: float, byte: int | None = None) -> bool:
    """Locks a file against all others who open it, or one ``byte`` of it against other processes.

    Returns whether it had to wait. Raises :class:`TimeoutError` after ``patience`` seconds. Where a network file system
    has no locks there is none: better no lock than no file.
    """
    deadline, waited = time.monotonic() + patience, False
    while not try_lock(descriptor, byte):
        if time.monotonic() > deadline:
            raise TimeoutError
        waited = True
        time.sleep(POLL)
    return waited


if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int, byte: int | None) -> bool:
        os.lseek(descriptor, byte or 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(descriptor: int, byte: int | None) -> bool:
        how = fcntl.LOCK_EX | fcntl.LOCK_NB
        try:
            if byte is None:
                fcntl.flock(descriptor, how)
            else:
                fcntl.lockf(descriptor, how, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:
            return True
        return True


def cache_folder() -> Path | None:
    """What can be made again: ``AICLI_CACHE_DIR``, else the platform's place; ``None`` where the user has no home."""
    given = os.environ.get("AICLI_CACHE_DIR")
    return Path(given).expanduser() if given else platform_folder("cache")


def platform_folder(kind: Literal["cache", "data"]) -> Path | None:
    """The folder ``aicli`` among the user's caches or data, as the platform has them; ``None`` without a home."""
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "aicli"
        return local / "cache" if kind == "cache" else local
    if sys.platform == "darwin":
        return home / "Library" / ("Caches" if kind == "cache" else "Application Support") / "aicli"
    variable, usual = ("XDG_CACHE_HOME", ".cache") if kind == "cache" else ("XDG_DATA_HOME", ".local/share")
    given = os.environ.get(variable, "")
    # The XDG specification has relative paths ignored.
    return (Path(given) if os.path.isabs(given) else home / usual) / "aicli"
