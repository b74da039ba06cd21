"""Faces made unrecognisable: what is left of each is a grid of at most 8 x 8 averages, or nothing.

``blur`` and ``pixelate`` first reduce a face's area to that grid and build the new pixels from the grid alone, so no
sharpening or guessing of a blur kernel can bring the face back. A small face gets a coarser grid, of no cell under 4
pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from aicli.errors import UsageError
from aicli.results import Box, Detection, Face

if TYPE_CHECKING:
    from aicli.image.decode import DecodedImage, ImageSource

__all__ = ["METHODS", "Method", "Shape", "anonymize"]

Method = Literal["blur", "pixelate", "solid"]
METHODS: tuple[Method, ...] = ("blur", "pixelate", "solid")
Shape = Literal["box", "ellipse"]

_CELLS = 8
_SMALLEST_CELL = 4
_CORNER = 0.35  # radius of the rounded corners of a blurred area, in parts of its shorter side
_MODES = ("L", "LA", "RGB", "RGBA")
_LEAST_MARGIN = 0.15


def anonymize(
    image: ImageSource | DecodedImage,
    faces: Sequence[Face],
    *,
    method: Method = "blur",
    margin: float = _LEAST_MARGIN,
    shape: Shape | None = None,
    cover: ImageSource | DecodedImage | None = None,
) -> Image.Image:
    """A new image in which every face's box, enlarged by ``margin`` of its size on each side, is covered.

    ``image`` and ``cover`` are whatever a detector takes, or an image that it decoded. ``image`` is turned upright
    first, as its EXIF says, since boxes are pixels of the upright image. The result is L, LA, RGB or RGBA, whichever
    the image is or comes near to; it has no metadata, and no colour where it is transparent.

    ``blur`` gives a rounded area, ``pixelate`` squares of one colour, ``solid`` black; with ``cover`` that picture lies
    on the faces, its transparent parts on the blur. ``shape`` is ``box`` (square corners) or ``ellipse`` (it
    holds the box). Raises :class:`UsageError` for another method, shape or margin, :class:`ImageError` for an image
    that cannot be read, :class:`TypeError` for what is none and for faces that are none.
    """
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r} to anonymise faces; choose one of {', '.join(METHODS)}")
    if shape not in (None, "box", "ellipse"):
        raise UsageError(f"there is no shape {shape!r}; choose box or ellipse")
    if not (math.isfinite(margin) and margin >= 0):
        raise UsageError(f"the margin around a face must be 0 or more, not {margin}")
    if not isinstance(faces, Detection):
        faces = tuple(faces)  # the check would use up an iterator
    if isinstance(faces, Detection) or not all(isinstance(face, Face) for face in faces):
        raise TypeError(f"faces are those of a Detection, such as detect(image).faces, not {faces!r:.80}")
    from aicli.image.original import open_original  # which imports NumPy

    result = _plain(open_original(image))
    laid = None if cover is None else open_original(cover)
    for face in faces:
        _hide(result, face.box, method, margin, shape, laid)
    return result


def _plain(image: Image.Image) -> Image.Image:
    """An upright copy in one of the modes, without what its metadata or transparent pixels could show."""
    image = ImageOps.exif_transpose(image)
    if image.mode not in _MODES:
        image = image.convert("RGBA" if image.has_transparency_data else "L" if image.mode in ("1", "La") else "RGB")
    elif image.mode in ("L", "RGB") and image.has_transparency_data:
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode in ("LA", "RGBA"):  # there and back through premultiplied colours, which hold what can be seen
        image = image.convert("La" if image.mode == "LA" else "RGBa").convert(image.mode)
    result = image.copy()
    result.info = {}  # an embedded thumbnail or comment would show what the pixels no longer do
    return result


def _hide(
    image: Image.Image, box: Box, method: Method, margin: float, shape: Shape | None, cover: Image.Image | None
) -> None:
    if not all(map(math.isfinite, box)):
        return
    (x1, x2), (y1, y2) = sorted((box.x1, box.x2)), sorted((box.y1, box.y2))
    dx, dy = margin * (x2 - x1), margin * (y2 - y1)
    if shape == "ellipse":  # one through the corners of the box, at least
        reach = (math.sqrt(0.5) - 0.5) * 1.02
        dx, dy = max(dx, reach * (x2 - x1) + 1), max(dy, reach * (y2 - y1) + 1)
    outer = (math.floor(x1 - dx), math.floor(y1 - dy), math.ceil(x2 + dx), math.ceil(y2 + dy))
    area = (max(0, outer[0]), max(0, outer[1]), min(image.width, outer[2]), min(image.height, outer[3]))
    if area[0] >= area[2] or area[1] >= area[3]:
        return
    patch = _patch(image.crop(area), method)
    if cover is not None:
        patch = _covered(patch, cover, outer, area)
    if shape == "ellipse":
        mask = _ellipse_mask(outer, area)
    elif shape is None and method == "blur" and cover is None:
        mask = _rounded_mask(outer, area, min(dx, dy))
    else:
        mask = None
    image.paste(patch, area, mask)


def _patch(pixels: Image.Image, method: Method) -> Image.Image:
    """What an area becomes, made of nothing but its grid."""
    if method == "solid":
        return Image.new("RGBA", pixels.size, (0, 0, 0, 255)).convert(pixels.mode)
    grid = pixels.resize((_cells(pixels.width), _cells(pixels.height)), Image.Resampling.BOX)
    if method == "pixelate":
        return grid.resize(pixels.size, Image.Resampling.NEAREST)
    soft = grid.resize(pixels.size, Image.Resampling.BICUBIC)
    return soft.filter(ImageFilter.GaussianBlur(min(pixels.size) / _CELLS))


def _covered(
    patch: Image.Image, cover: Image.Image, outer: tuple[int, int, int, int], area: tuple[int, int, int, int]
) -> Image.Image:
    """The part of ``cover``, fitted into ``outer``, that lies in ``area``, over the patch."""
    fitted = ImageOps.fit(cover.convert("RGBA"), (outer[2] - outer[0], outer[3] - outer[1]), Image.Resampling.BICUBIC)
    left, top = area[0] - outer[0], area[1] - outer[1]
    fitted = fitted.crop((left, top, left + patch.width, top + patch.height))
    return Image.alpha_composite(patch.convert("RGBA"), fitted).convert(patch.mode)


def _cells(side: int) -> int:
    return max(1, min(_CELLS, side // _SMALLEST_CELL))


def _ellipse_mask(outer: tuple[int, int, int, int], area: tuple[int, int, int, int]) -> Image.Image:
    """The ellipse in ``outer``, cut to ``area``."""
    mask = Image.new("L", (area[2] - area[0], area[3] - area[1]))
    left, top = outer[0] - area[0], outer[1] - area[1]
    ImageDraw.Draw(mask).ellipse((left, top, outer[2] - area[0] - 1, outer[3] - area[1] - 1), fill=255)
    smooth = mask.filter(ImageFilter.GaussianBlur(0.7))
    return ImageChops.lighter(mask, smooth)  # smooth to the outside only: nothing of the face shines through


def _rounded_mask(outer: tuple[int, int, int, int], area: tuple[int, int, int, int], inset: float) -> Image.Image:
    """The mask of ``outer`` with rounded corners, cut to ``area``.

    ``inset`` is how far the face's own box lies inside ``outer``: a corner of radius r spares a point (inset, inset)
    from the corner only while r (1 - 1/sqrt(2)) exceeds inset, so the radius stays below that and the box is covered.
    """
    width, height = area[2] - area[0], area[3] - area[1]
    radius = min(_CORNER * min(outer[2] - outer[0], outer[3] - outer[1]), inset / (1 - math.sqrt(0.5)))
    mask = Image.new("L", (width, height))
    left, top = outer[0] - area[0], outer[1] - area[1]
    right, bottom = outer[2] - area[0] - 1, outer[3] - area[1] - 1
    ImageDraw.Draw(mask).rounded_rectangle((left, top, right, bottom), radius, fill=255)
    if inset > 3:  # smooth the corners' stairs; the face's own box is out of this filter's reach
        mask = mask.filter(ImageFilter.GaussianBlur(0.7))
    return mask
