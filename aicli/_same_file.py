"""Whether two paths are one file: under links of every kind, and where letters' case does not count.

A file's device and inode number tell it from all others, but not everywhere: some file systems that fold case (exFAT
through FUSE) give a file another number under each spelling of its name. There the folders' own lists decide.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

__all__ = ["FileSet", "identity_of", "name_key", "same_file"]

PathLike = str | os.PathLike[str]


def name_key(path: str) -> str:
    """What two paths have in common that are one file where letters' case or Unicode's composition do not count."""
    if path.isascii():
        return path.casefold()
    import unicodedata

    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def identity_of(path: PathLike) -> tuple[int, int] | None:
    """What tells a file from all others, whatever links lead to it; ``None`` where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def same_file(first: PathLike, second: PathLike) -> bool:
    """Whether both paths lead to one file that is there."""
    try:
        if os.path.samefile(first, second):
            return True
    except (OSError, ValueError):
        return False
    one, other = os.path.realpath(first), os.path.realpath(second)
    return name_key(one) == name_key(other) and as_listed(one) == as_listed(other)


def as_listed(path: str) -> str:
    """A real path with every name as its folder lists it, where it is spelled otherwise."""
    folder, name = os.path.split(path)
    if not name:
        return path
    folder = as_listed(folder)
    try:
        names = os.listdir(folder)
    except OSError:
        names = []
    if name not in names:
        alike = [listed for listed in names if name_key(listed) == name_key(name)]
        name = alike[0] if len(alike) == 1 else name
    return os.path.join(folder, name)


class FileSet:
    """Files that are there, to be found under whatever name or link."""

    def __init__(self, paths: Iterable[PathLike]) -> None:
        self._real: dict[str, str] = {}
        self._by_identity: dict[tuple[int, int], PathLike] = {}
        self._by_key: dict[str, PathLike] = {}
        for path in paths:
            if (identity := identity_of(path)) is not None:
                self._by_identity[identity] = self._by_key[self._key(path)] = path

    def __len__(self) -> int:
        return len(self._by_identity)

    def find(self, path: PathLike) -> PathLike | None:
        """The path by which a file is in the set; ``None`` where it is not."""
        identity = identity_of(path)
        if identity is None:
            return None
        alike = self._by_key.get(self._key(path))
        return self._by_identity.get(identity) or (alike if alike is not None and same_file(path, alike) else None)

    def _key(self, path: PathLike) -> str:
        folder, name = os.path.split(path)
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        return name_key(os.path.join(self._real[folder], name))
