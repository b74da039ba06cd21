"""``--group``: every photo into a folder named after its answer."""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from aicli._files import NO_HARD_LINKS, publish, write_file
from aicli._same_file import name_key, same_file
from aicli._text import shown
from aicli.cli.batch.pictures import make_folder
from aicli.cli.console import complain
from aicli.errors import AicliError, UsageError
from aicli.output.pictures.places import numbered

if TYPE_CHECKING:
    from aicli.cli.batch.job import Render
    from aicli.cli.batch.pictures import Outputs
    from aicli.cli.batch.sources import Sources

__all__ = ["Grouping", "folder_name"]

NONE = "unlabelled"
LABEL_FILE = ".aicli-label"
"""In a class's folder: the label, where the folder's name cannot hold it (aicli/training/dataset.py)."""


def folder_name(label: str) -> str:
    """A label as the name of a folder on any system: no separators, control characters or trailing dots."""
    name = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', "_", label).strip(" .")[:100]
    if name.upper() in {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}:
        name += "_"
    return name or NONE


def keep_label(folder: str, label: str | None) -> None:
    """Leaves the label in a folder whose name cannot hold it: ``aicli train`` reads it there."""
    path = Path(folder, LABEL_FILE)
    if label is not None and os.path.basename(folder) != label and not path.exists():
        write_file(path, label.encode("utf-8", "surrogateescape"))


class Grouping:
    """Puts files into ``root/LABEL/name`` by ``copy``, ``move`` or ``link``; no file that is there is replaced."""

    def __init__(self, root: str, how: str, sources: Sources, outputs: Outputs, *, dry_run: bool) -> None:
        if os.path.lexists(root) and not os.path.isdir(root):
            raise UsageError(f"{root}: a file; --group takes a folder")
        self._root, self._how, self._dry_run = root, how, dry_run
        self._sources, self._outputs = sources, outputs

    def place(self, image: str, source: Path | None, label: str | None, render: Render) -> str:
        """Files one photo; returns where it is, or would be. Raises :class:`AicliError`.

        ``render`` makes the record from what belongs into it. Before a photo is moved it is written into the plan:
        afterwards nobody finds the photo under its name, so nobody could answer it again.
        """
        if source is None:
            raise AicliError("it is not a file on this machine that could be put into a group; name files").of(
                shown(image)
            )
        folder = os.path.join(self._root, folder_name(label or NONE))
        if self._dry_run:
            target = self._next(folder, source)
            complain(f"would {self._how} {source} to {target}")
            return target
        make_folder(Path(folder))
        keep_label(folder, label)
        begun = self._outputs.plan.begun(image, "group")
        target = begun or ""
        if os.path.dirname(target) != folder:
            target = self._next(folder, source)
        elif self._how == "move" and self._is_finished(source, target):
            return target
        while not is_done(self._how, source, target):
            moves = self._how == "move"
            record = render({"group": target}) if moves else None
            if moves or target != begun:
                entry = {"group": target, "record": record}
                self._outputs.plan.write(image, entry, sync=moves and crosses(source, folder))
            try:
                if self._act(source, target):
                    break
            except OSError as error:
                raise AicliError(f"cannot {self._how} it to {target}: {error.strerror or error}").of(
                    shown(str(source))
                ) from None
            target = self._next(folder, source)
        return target

    def _next(self, folder: str, source: Path) -> str:
        """A name that nothing has, or that leads to this photo already."""
        names = self._outputs.names
        while True:
            target = os.path.join(folder, numbered(source.name, names.choose(folder, source.name, disk=False)))
            if not os.path.lexists(target) or is_done(self._how, source, target):
                return target

    def _is_finished(self, source: Path, target: str) -> bool:
        """Whether a move that was broken off had its copy complete; then the photo is removed, which was to come."""
        if is_same_entry(source, target) or not os.path.lexists(target):
            return False
        if os.path.islink(source) or not (same_file(source, target) or have_same_content(source, target)):
            return False
        try:
            os.unlink(source)
        except OSError as error:
            raise AicliError(f"it is in {target} but cannot be removed: {error.strerror}").of(
                shown(str(source))
            ) from None
        return True

    def _act(self, source: Path, target: str) -> bool:
        """Whether it was done; it is not where something has taken the name. Raises :class:`OSError`."""
        if self._how == "move":
            return self._move(source, target)
        if self._how == "link":
            try:
                os.symlink(os.path.realpath(source), target)
            except FileExistsError:
                return False
            except OSError as error:  # Windows without the right to make links, file systems without them
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
                    raise
                return self._link_hard(source, target)
            return True
        return self._copy(source, target)

    def _link_hard(self, source: Path, target: str) -> bool:
        try:
            return link_hard(source, target)
        except OSError as error:
            if error.errno not in NO_HARD_LINKS | {errno.EXDEV}:
                raise
            where = os.path.dirname(target)
            raise AicliError(f"a link to it cannot lie in {where}, on this file system; use --copy").of(
                shown(str(source))
            ) from None

    def _move(self, source: Path, target: str) -> bool:
        if os.path.islink(source) and not self._sources.may_hold(os.path.realpath(source)):
            try:  # a link of its own, since a relative one would lead nowhere from there
                os.symlink(os.path.join(os.path.realpath(source.parent), os.readlink(source)), target)
            except FileExistsError:
                return False
        elif os.path.islink(source) or crosses(source, target):  # what a link leads to may be moved itself
            if not self._copy(source, target, sync=True):
                return False
        elif not rename(source, target):
            return False
        try:
            with suppress(FileNotFoundError):  # renamed
                os.unlink(source)
        except OSError:
            os.unlink(target)  # it stays where it was
            raise
        return True

    def _copy(self, source: Path, target: str, *, sync: bool = False) -> bool:
        folder = os.path.dirname(target)
        part = os.path.join(folder, self._outputs.plan.part())
        try:
            shutil.copy2(source, part)
            if sync:
                sync_path(part)
            done = publish(part, target)
        finally:
            Path(part).unlink(missing_ok=True)
        if sync:
            with suppress(OSError):  # not every system opens folders
                sync_path(folder)
        return done


def rename(source: Path, target: str) -> bool:
    """Moves a file within its file system; returns whether the name was free."""
    try:
        return link_hard(source, target)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
    return publish(os.fspath(source), target)


def link_hard(source: Path, target: str) -> bool:
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    return True


def crosses(source: Path, target: str) -> bool:
    """Whether a target, or the folder that it will lie in, is on another file system than the source."""
    folder = target if os.path.isdir(target) else os.path.dirname(target)
    return os.lstat(source).st_dev != os.stat(folder).st_dev


def sync_path(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_done(how: str, source: Path, target: str) -> bool:
    """Whether a target that exists is this photo: a former run has put it there."""
    if is_same_entry(source, target):
        return True
    try:
        if how == "link":
            return same_file(source, target)
        return how == "copy" and have_same_content(source, target)
    except OSError:
        return False


def is_same_entry(source: Path, target: str) -> bool:
    """Whether both paths are one entry of one folder."""
    try:
        folders = same_file(source.parent, os.path.dirname(target))
        return folders and (source.name == os.path.basename(target) or is_one_name(source, target))
    except OSError:
        return False


def is_one_name(source: Path, target: str) -> bool:
    """Whether two names in one folder are spellings of one, as its list has no more than one of them."""
    if name_key(source.name) != name_key(os.path.basename(target)) or not os.path.lexists(target):
        return False
    return not {source.name, os.path.basename(target)} <= set(os.listdir(source.parent))


def have_same_content(source: Path, target: str) -> bool:
    try:
        return source.stat().st_size == os.path.getsize(target) and source.read_bytes() == Path(target).read_bytes()
    except OSError:
        return False
