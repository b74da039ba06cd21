"""Single faces cut out of a photo."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image

from aicli.errors import ImageError, UsageError
from aicli.output.pictures.drawing import clip_box
from aicli.results import Face, Landmarks

if TYPE_CHECKING:
    from aicli.image.decode import DecodedImage, ImageSource

__all__ = ["crop_face"]

_LARGEST_SIZE = 8192


def crop_face(
    image: ImageSource | DecodedImage, face: Face, *, margin: float = 0.2, align: bool = False, size: int | None = None
) -> Image.Image:
    """A new RGB image of the face with ``margin`` of the box's width and height on each side.

    Plain, it is that rectangle cut at the image's border: no pixel is invented or resampled. With ``size`` it is a
    square of ``size`` pixels, with ``align`` a square in which the eyes lie level; both are centred on the box, as
    wide as its longer side plus margins, and where the photo ends they are black.

    Raises :class:`ImageError` when the box holds no pixel of the image, :class:`UsageError` for a bad margin or size.
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise UsageError(f"the margin around a face must be 0 or more, not {margin}")
    if size is not None and not 1 <= size <= _LARGEST_SIZE:
        raise UsageError(f"the size of a face must be 1 to {_LARGEST_SIZE} pixels, not {size}")
    from aicli.image.original import open_original  # which imports NumPy

    image = open_original(image)
    if clip_box(face.box, image.size) is None:
        raise ImageError("a face lies outside the image and cannot be cut out")
    x1, y1, x2, y2 = face.box
    if not align and size is None:
        dx, dy = margin * (x2 - x1), margin * (y2 - y1)
        left, top = max(0, math.floor(x1 - dx)), max(0, math.floor(y1 - dy))
        right, bottom = min(image.width, math.ceil(x2 + dx)), min(image.height, math.ceil(y2 + dy))
        return image.crop((left, top, right, bottom)).convert("RGB")
    side = max(x2 - x1, y2 - y1) * (1 + 2 * margin)
    angle = eye_angle(face.landmarks) if align else 0.0
    return _square(image, ((x1 + x2) / 2, (y1 + y2) / 2), side, angle, size or max(1, round(side)))


def eye_angle(landmarks: Landmarks) -> float:
    """How far the line through the eyes is turned clockwise, in radians.

    0 where the eyes lie too close together to tell (a profile): under a third of the distance from eyes to mouth.
    """
    (lx, ly), (rx, ry) = landmarks.left_eye, landmarks.right_eye
    eyes = ((lx + rx) / 2, (ly + ry) / 2)
    mouth = (
        (landmarks.mouth_left.x + landmarks.mouth_right.x) / 2,
        (landmarks.mouth_left.y + landmarks.mouth_right.y) / 2,
    )
    distance = math.hypot(rx - lx, ry - ly)
    if not distance > math.dist(eyes, mouth) / 3:  # also when a landmark is not a number
        return 0.0
    return math.atan2(ry - ly, rx - lx)


def _square(image: Image.Image, center: tuple[float, float], side: float, angle: float, size: int) -> Image.Image:
    """The square of ``side`` around ``center``, turned by ``angle``, as an image of ``size`` x ``size``.

    The affine transform samples only neighbouring pixels; so that a large face does not alias in a small picture, its
    surroundings are first averaged down to at most twice the resolution that is wanted.
    """
    reach = side * (math.sqrt(0.5) if angle else 0.5) + 2
    left, top = max(0, math.floor(center[0] - reach)), max(0, math.floor(center[1] - reach))
    right, bottom = min(image.width, math.ceil(center[0] + reach)), min(image.height, math.ceil(center[1] + reach))
    patch = image.crop((left, top, right, bottom)).convert("RGB")
    factor = max(1, int(side / size))
    if factor > 1:
        patch = patch.reduce(factor)
    scale = side / size / factor  # pixels of the patch per pixel of the result
    cx, cy = (center[0] - left) / factor, (center[1] - top) / factor
    a, b = scale * math.cos(angle), -scale * math.sin(angle)
    d, e = -b, a
    offset_x, offset_y = cx - (a + b) * size / 2, cy - (d + e) * size / 2
    return patch.transform(
        (size, size), Image.Transform.AFFINE, (a, b, offset_x, d, e, offset_y), Image.Resampling.BICUBIC
    )
