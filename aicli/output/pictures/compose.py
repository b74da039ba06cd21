"""The picture of a photo as its options say: faces boxed, or made unrecognisable but for those that are spared."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from aicli.options import PictureOptions
from aicli.output.pictures.anonymize import anonymize
from aicli.output.pictures.drawing import draw_faces, parse_color
from aicli.output.pictures.spared import check_spared, faces_to_hide
from aicli.results import Face

__all__ = ["BLUR_MARGIN", "CROP_MARGIN", "check_picture_options", "compose"]

CROP_MARGIN, BLUR_MARGIN = 0.2, 0.15
SOLID = "solid"


def check_picture_options(options: PictureOptions) -> None:
    """Raises :class:`UsageError` for values that no picture can be made with."""
    parse_color(options.color)
    check_spared(options)


def compose(
    picture: Image.Image, faces: Sequence[Face], options: PictureOptions, cover: Image.Image | None = None
) -> Image.Image:
    """The picture with its faces hidden, or with boxes; ``cover`` is the opened picture of ``options.cover``."""
    if options.hides_faces:
        margin = BLUR_MARGIN if options.margin is None else options.margin
        method = "solid" if options.cover == SOLID else options.anonymize or "blur"
        hidden = faces_to_hide(faces, options)
        picture = anonymize(picture, hidden, method=method, margin=margin, shape=options.shape, cover=cover)
        if not (options.landmarks or options.scores):
            return picture
    return draw_faces(
        picture,
        faces,
        color=options.color,
        line_width=options.line_width,
        landmarks=options.landmarks,
        scores=options.scores,
    )
