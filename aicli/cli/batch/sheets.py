"""``--sheet FILE``: the contact sheet of a run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aicli.errors import UsageError
from aicli.options import SavingOptions
from aicli.output.pictures.saving import encode_image, image_format, save_image
from aicli.output.pictures.sheet import ContactSheet

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["SheetFile"]


class SheetFile:
    """Collects thumbnails and writes them as one picture, to standard output for ``-``."""

    def __init__(self, path: str, saving: SavingOptions) -> None:
        if path != "-":
            image_format(path)
            if not os.path.isdir(os.path.dirname(path) or "."):
                raise UsageError(f"{path}: its folder does not exist; make it first")
        self._path, self._saving = path, saving
        self._sheet = ContactSheet()

    def add(self, name: str, thumbnail: Image.Image, answer: str) -> None:
        self._sheet.add(thumbnail, Path(name).name if name != "-" else "standard input", answer)

    def save(self) -> None:
        """Writes the sheet, unless no image was answered."""
        if not len(self._sheet):
            return
        quality = self._saving.quality
        if self._path != "-":
            save_image(self._sheet.render(), self._path, quality=quality)
            return
        format = (self._saving.picture_format or "png").upper()
        sys.stdout.buffer.write(encode_image(self._sheet.render(), format, name="the sheet", quality=quality))
        sys.stdout.buffer.flush()
