"""``classify --group``: every photo into a folder named after its label."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

from aicli.cli.batch.pictures import make_folder
from aicli.cli.main import complain
from aicli.errors import AicliError
from aicli.output.pictures.saving import unique_path

__all__ = ["Grouping", "folder_name"]

NONE = "unlabelled"


def folder_name(label: str) -> str:
    """A label as the name of a folder on any system: no separators, control characters or trailing dots."""
    name = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', "_", label).strip(" .")[:100]
    if name.upper() in {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}:
        name += "_"
    return name or NONE


class Grouping:
    """Puts files into ``root/LABEL/name`` by ``copy``, ``move`` or ``link``; a file that is there stays as it is."""

    def __init__(self, root: str, how: str, *, dry_run: bool) -> None:
        self._root, self._how, self._dry_run = Path(root), how, dry_run
        self._taken: set[str] = set()

    def place(self, source: Path | None, label: str | None) -> str:
        """Files one photo; returns where it is, or would be. Raises :class:`AicliError`."""
        if source is None:
            raise AicliError("-: an image on standard input has no file to put into a group; name files")
        folder = self._root / folder_name(label or NONE)
        target = self._free(folder, source)
        if self._dry_run:
            complain(f"would {self._how} {source} to {target}")
            return str(target)
        if target.exists():
            return str(target)  # a former run has put it there
        make_folder(folder)
        try:
            self._act(source, target)
        except OSError as error:
            raise AicliError(f"{source}: cannot {self._how} it to {target}: {error.strerror or error}") from None
        return str(target)

    def _free(self, folder: Path, source: Path) -> Path:
        """A name that nothing has: not this run, and no other file of an earlier one."""
        while True:
            target = unique_path(folder, source.name, self._taken)
            if not os.path.lexists(target) or self._is_done(source, target):
                return target

    def _is_done(self, source: Path, target: Path) -> bool:
        try:
            if source.samefile(target):
                return True
            if self._how != "copy" or source.stat().st_size != target.stat().st_size:
                return False
            return source.read_bytes() == target.read_bytes()
        except OSError:
            return False

    def _act(self, source: Path, target: Path) -> None:
        if self._how == "move":
            shutil.move(source, target)
        elif self._how == "link":
            try:
                os.symlink(os.path.realpath(source), target)
            except OSError as error:  # Windows without the right to make links, file systems without them
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EINVAL):
                    raise
                os.link(source, target)
        else:
            part = target.with_name(f".{target.name}.part")
            try:
                shutil.copy2(source, part)
                os.replace(part, target)
            finally:
                part.unlink(missing_ok=True)
