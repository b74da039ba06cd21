"""Where pictures go: ``-o`` as one file or a folder, names kept, collisions solved, the input never overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aicli.errors import AicliError, UsageError
from aicli.output.saving import IMAGE_SUFFIXES, ImageMetadata, image_format, save_image, unique_path

if TYPE_CHECKING:
    from PIL import Image

    from aicli.images import DecodedImage

__all__ = ["PictureTarget"]


class PictureTarget:
    """The value of ``-o``: a folder where it is one, ends in a slash or has no suffix; else one file."""

    def __init__(self, value: str, *, several: bool = False, keep_exif: bool = True) -> None:
        path = Path(value)
        self._is_folder = path.is_dir() or value.endswith(("/", "\\")) or path.suffix == ""
        if not self._is_folder:
            image_format(path)
            if several:
                raise UsageError(f"{value}: one file cannot hold the pictures of several images; give a folder")
        self._path = path
        self._keep_exif = keep_exif
        self._taken: set[str] = set()

    def save(self, source: Path | None, name: str, image: DecodedImage, picture: Image.Image) -> str:
        """Writes one picture and returns its path. Raises :class:`AicliError` rather than overwrite the input."""
        path = self._path
        if self._is_folder:
            path.mkdir(parents=True, exist_ok=True)
            original = Path(name).name if name not in ("-", "<stdin>") else "stdin.png"
            kept = original if Path(original).suffix.lower() in IMAGE_SUFFIXES else f"{Path(original).stem}.png"
            path = unique_path(path, kept, self._taken)
        if source is not None and is_same_file(source, path):
            raise AicliError(f"{path}: this is the photo itself, which is never overwritten; choose another -o")
        metadata = ImageMetadata(image.icc_profile, image.exif)
        save_image(picture, path, metadata=metadata, keep_exif=self._keep_exif)
        return str(path)


def is_same_file(source: Path, target: Path) -> bool:
    try:
        return source.samefile(target)
    except OSError:
        return False

