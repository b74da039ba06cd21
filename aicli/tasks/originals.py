"""The picture of a photo that is drawn on or in which faces are hidden, all faces in it, and what covers them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aicli.image.original import is_grey, open_original, open_transparent
from aicli.results import Face

if TYPE_CHECKING:
    from PIL import Image

    from aicli.image.decode import DecodedImage
    from aicli.options import DetectOptions
    from aicli.tasks.faces import FaceDetector

__all__ = ["frame_to_hide_in", "open_cover", "picture_to_draw_on", "picture_to_hide_in"]


def picture_to_draw_on(image: DecodedImage, source: Path | bytes, *, max_pixels: int) -> Image.Image:
    """The upright picture, transparent where the photo is."""
    if image.transparent is not None:
        return image.transparent
    picture = open_transparent(source, name=image.name, max_pixels=max_pixels)
    return picture if picture is not None and picture.size == (image.width, image.height) else image.to_pil()


def picture_to_hide_in(
    detector: FaceDetector,
    image: DecodedImage,
    source: Path | bytes,
    faces: tuple[Face, ...],
    options: DetectOptions | None = None,
) -> tuple[Image.Image, tuple[Face, ...]]:
    """The upright picture, grey or transparent where the photo is, and the faces in it, those of ``faces`` first.

    What is nearly transparent is hardly seen on white, but its colours are in the file: they are searched too, as
    ``options`` or the detector's own say.
    """
    picture = open_transparent(source, name=image.name, max_pixels=detector.options.max_pixels)
    if picture is not None and picture.size == (image.width, image.height):
        return picture, all_faces(detector, image, picture, faces, options)
    picture = image.to_pil()
    return (picture.convert("L") if is_grey(source) else picture), faces


def frame_to_hide_in(
    detector: FaceDetector, image: DecodedImage, faces: tuple[Face, ...], options: DetectOptions | None = None
) -> tuple[Image.Image, tuple[Face, ...]]:
    """The same for one of several frames, which was decoded with its transparent picture."""
    if image.transparent is None:
        return image.to_pil(), faces
    return image.transparent, all_faces(detector, image, image.transparent, faces, options)


def open_cover(source: Path | bytes, *, name: str, max_pixels: int) -> Image.Image:
    """The picture that is laid on faces, with what is transparent in it. Raises :class:`aicli.errors.ImageError`."""
    return open_original(source, name=name, max_pixels=max_pixels)


def all_faces(
    detector: FaceDetector,
    image: DecodedImage,
    picture: Image.Image,
    faces: tuple[Face, ...],
    options: DetectOptions | None,
) -> tuple[Face, ...]:
    """The faces, and those that only the colours of transparent pixels show."""
    opaque = detector.open(picture.convert("RGBA").convert("RGB"), name=image.name)
    more = detector.detect(opaque, options).faces
    return faces + tuple(face for face in more if not any(is_one_face(face, other) for other in faces))


def is_one_face(first: Face, second: Face) -> bool:
    """Whether the centre of one box lies in the other."""
    x, y = (first.box.x1 + first.box.x2) / 2, (first.box.y1 + first.box.y2) / 2
    return second.box.x1 <= x <= second.box.x2 and second.box.y1 <= y <= second.box.y2
