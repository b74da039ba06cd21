"""Where pictures go: one file or a folder, names kept, collisions solved, no input ever overwritten."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aicli.cli.batch.sources import in_folder
from aicli.errors import AicliError, UsageError
from aicli.output.pictures.saving import IMAGE_SUFFIXES, image_format, unique_path

if TYPE_CHECKING:
    from aicli.cli.batch.sources import Sources

__all__ = ["CropTarget", "PictureTarget", "make_folder"]


class PictureTarget:
    """The value of ``-o``: a folder where it is one, ends in a slash or has no suffix; else one file."""

    def __init__(self, value: str, sources: Sources) -> None:
        path = Path(value)
        self._is_folder = path.is_dir() or value.endswith(("/", "\\")) or path.suffix == ""
        if not self._is_folder:
            image_format(path)
            if not sources.is_one_file:
                raise UsageError(f"{value}: one file cannot hold the pictures of several images; give a folder")
        else:
            sources.exclude(value)
        self._path = path
        self._inputs: Sequence[str] = sources.arguments
        self._folders = [folder for folder in sources.folders() if os.path.realpath(path).startswith(folder)]
        self._own_folder = os.path.realpath(path) not in sources.folders()
        self._taken: set[str] = set()

    def __call__(self, name: str, source: Path | None) -> str:
        """The path for the picture of one image. Raises :class:`AicliError` rather than let it replace an input."""
        path = self._path
        if self._is_folder:
            make_folder(path)
            path = unique_path(path, kept_name(name), self._taken)
        if (source is not None and is_same_file(source, path)) or self._is_input(path):
            raise AicliError(f"{path}: this is a photo of the input, which is never overwritten; choose another -o")
        return str(path)

    def _is_input(self, path: Path) -> bool:
        if not path.exists():
            return False
        if any(is_same_file(Path(name), path) for name in self._inputs):
            return True
        return not self._own_folder and in_folder(path, self._folders)


class CropTarget:
    """The value of ``--crop``: a folder with a file per face."""

    def __init__(self, value: str, sources: Sources) -> None:
        sources.exclude(value)
        self._path = Path(value)
        if self._path.exists() and not self._path.is_dir():
            raise UsageError(f"{value}: a file; --crop takes a folder")
        self._taken: set[str] = set()

    def __call__(self, name: str) -> str:
        """The path of an image's faces without their number and suffix."""
        make_folder(self._path)
        return str(unique_path(self._path, Path(kept_name(name)).stem + ".jpg", self._taken).with_suffix(""))


def kept_name(name: str) -> str:
    """The file name of an image, with a suffix that pictures are written in."""
    original = Path(name).name if name not in ("-", "<stdin>") else "stdin.png"
    return original if Path(original).suffix.lower() in IMAGE_SUFFIXES else f"{Path(original).stem}.png"


def make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot make this folder ({error.strerror})") from None


def is_same_file(source: Path, target: Path) -> bool:
    try:
        return source.samefile(target)
    except OSError:
        return False
