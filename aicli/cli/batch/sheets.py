"""``--sheet FILE``: the contact sheet of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from aicli.errors import UsageError
from aicli.output.pictures.saving import image_format, save_image
from aicli.output.pictures.sheet import ContactSheet

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["SheetFile"]


class SheetFile:
    """Collects thumbnails and writes them as one picture."""

    def __init__(self, path: str) -> None:
        image_format(path)
        if not os.path.isdir(os.path.dirname(path) or "."):
            raise UsageError(f"{path}: its folder does not exist; make it first")
        self._path = path
        self._sheet = ContactSheet()

    def add(self, name: str, thumbnail: Image.Image, answer: str) -> None:
        self._sheet.add(thumbnail, Path(name).name if name != "-" else "standard input", answer)

    def save(self) -> None:
        """Writes the sheet, unless no image was answered."""
        if len(self._sheet):
            save_image(self._sheet.render(), self._path)
