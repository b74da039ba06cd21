"""Annotated pictures: boxes around faces, a label on a photo.

Every function leaves its input alone and returns a new image of the same size, RGB, or RGBA where the input may be
transparent. Coordinates are pixels of the
upright image. Sizes of lines and letters follow the image, so that a picture of 100 pixels and one of 8000 both read
well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageColor, ImageDraw

from aicli.errors import UsageError
from aicli.output.pictures.fonts import Font, fit_text, font_for, text_width
from aicli.results import Box, Classification, Face, Landmarks, Point

if TYPE_CHECKING:
    from aicli.image.decode import DecodedImage, ImageSource

__all__ = [
    "Color",
    "clip_box",
    "default_line_width",
    "draw_faces",
    "draw_label",
    "on_white",
    "parse_color",
    "pick_contrasting_text",
    "scaled",
]

RGB = tuple[int, int, int]
Color = str | RGB

_BLACK: RGB = (0, 0, 0)
_WHITE: RGB = (255, 255, 255)
_BAND_OPACITY = 0.72  # white text on a white photo keeps a contrast above 7:1
_DOT_SUPERSAMPLING = 8


def parse_color(color: Color) -> RGB:
    """``(r, g, b)`` of a CSS colour name or ``#rrggbb``. Raises :class:`UsageError`."""
    if not isinstance(color, str):
        return color
    try:
        return ImageColor.getrgb(color)[:3]
    except ValueError:
        raise UsageError(f"{color!r} is not a colour; give a CSS name such as lime, or #00ff00") from None


def pick_contrasting_text(color: Color) -> RGB:
    """Black or white, whichever is easier to read on ``color`` (WCAG 2 contrast ratio)."""

    def linear(value: int) -> float:
        share = value / 255
        return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)

    red, green, blue = map(linear, parse_color(color))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return _BLACK if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else _WHITE


def default_line_width(size: tuple[int, int]) -> int:
    """The line width, in pixels, for an image of ``size``: 1/250 of its shorter side, at least 2."""
    return max(2, round(min(size) / 250))


def clip_box(box: Box, size: tuple[int, int]) -> Box | None:
    """The part of a box inside an image of ``size``; ``None`` when there is none (outside, empty, not a number)."""
    if not all(map(math.isfinite, box)):
        return None
    x1, x2 = (min(max(value, 0.0), float(size[0])) for value in sorted((box.x1, box.x2)))
    y1, y2 = (min(max(value, 0.0), float(size[1])) for value in sorted((box.y1, box.y2)))
    return Box(x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def scaled(face: Face, x: float, y: float) -> Face:
    """The face in a picture that was made ``x`` times as wide and ``y`` times as high."""
    box = Box(face.box.x1 * x, face.box.y1 * y, face.box.x2 * x, face.box.y2 * y)
    landmarks = Landmarks(*(Point(point.x * x, point.y * y) for point in face.landmarks))
    return face._replace(box=box, landmarks=landmarks)


def draw_faces(
    image: ImageSource | DecodedImage,
    faces: Sequence[Face],
    *,
    color: Color = "lime",
    line_width: int | None = None,
    landmarks: bool = False,
    scores: bool = False,
) -> Image.Image:
    """The image with a box around every face, and on request its five landmarks as dots and its score as a label.

    A box that reaches beyond the image is drawn along the image's edge; one wholly outside is left out.
    """
    rgb = parse_color(color)
    result = _in_colour(image)
    draw, size = ImageDraw.Draw(result), result.size
    visible = [(face, box, line_width or _line_width(box, size)) for face in faces if (box := clip_box(face.box, size))]
    for _, box, width in visible:
        _draw_box(draw, box, size, rgb, width)
    if landmarks:
        for face, box, width in visible:
            _draw_dots(result, face.landmarks, _dot_radius(box, width), rgb)
    if scores:  # last, so that no other face's box crosses the text
        taken = [box for _, box, _ in visible]
        for face, box, width in visible:
            taken.append(_draw_score(draw, box, f"{face.score:.2f}", size, rgb, width, taken))
    return result


def on_white(image: Image.Image) -> Image.Image:
    """The image as RGB, white where it is transparent."""
    if image.mode not in ("LA", "RGBA"):
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")


def _in_colour(source: ImageSource | DecodedImage) -> Image.Image:
    """A copy that colours can be drawn on."""
    from aicli.image.original import open_original  # which imports NumPy

    image = open_original(source)
    return image.convert("RGBA" if image.mode in ("LA", "RGBA") else "RGB")


def _line_width(box: Box, size: tuple[int, int]) -> int:
    """The image's line width, or less: a heavy line would swallow a small face in a large photo."""
    return min(default_line_width(size), max(1, round(min(box.x2 - box.x1, box.y2 - box.y1) / 14)))


def _draw_box(draw: ImageDraw.ImageDraw, box: Box, size: tuple[int, int], color: RGB, width: int) -> None:
    """Draw the rectangle just around the box, so that the line hides nothing of the face, and inside the image."""
    left, top = max(0, round(box.x1) - width), max(0, round(box.y1) - width)
    right, bottom = min(size[0], round(box.x2) + width) - 1, min(size[1], round(box.y2) + width) - 1
    draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=color, width=width)


def _dot_radius(box: Box, width: int) -> float:
    side = min(box.x2 - box.x1, box.y2 - box.y1)
    return min(max(1.0, side / 28), 1.5 * width)


def _draw_dots(image: Image.Image, points: Sequence[Point], radius: float, color: RGB) -> None:
    """Filled discs with smooth edges, which ImageDraw has not."""
    side = 2 * math.ceil(radius) + 3
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        left, top = math.floor(x) - side // 2, math.floor(y) - side // 2
        scale = _DOT_SUPERSAMPLING
        large = Image.new("L", (side * scale, side * scale))
        cx, cy, r = (x - left) * scale, (y - top) * scale, radius * scale
        ImageDraw.Draw(large).ellipse((cx - r, cy - r, cx + r, cy + r), fill=255)
        image.paste(color, (left, top, left + side, top + side), large.reduce(scale))


def _draw_score(
    draw: ImageDraw.ImageDraw, box: Box, text: str, size: tuple[int, int], color: RGB, width: int, taken: Sequence[Box]
) -> Box:
    """The score on a filled tab at the box, inside the image, where it hides least of what is ``taken``; the tab."""
    letters = round(min(max(10.0, (box.x2 - box.x1) / 5), max(10.0, min(size) / 28)))
    font, text = font_for(text, letters)
    pad = max(1, letters // 5)
    tab_width, tab_height = text_width(font, text) + 2 * pad, _line_height(font) + 2 * pad
    x1, y1, x2, y2 = (round(value) for value in box)
    beside_top = max(0, min(y1 - width, size[1] - tab_height))
    places = [  # the usual one first: it wins a tie
        (x1 - width, y1 - width - tab_height),
        (x2 + width - tab_width, y1 - width - tab_height),
        (x1 - width, y2 + width),
        (x2 + width, beside_top),
        (x1 - width - tab_width, beside_top),
        (x1, max(0, min(y1, size[1] - tab_height))),  # inside: a face that fills the image
    ]
    tabs = [
        Box(left, top, left + tab_width, top + tab_height)
        for left, top in ((max(0, min(x, size[0] - tab_width)), y) for x, y in places)
        if 0 <= top <= max(0, size[1] - tab_height)
    ]
    tab = min(tabs, key=lambda place: sum(_overlap(place, other) for other in taken))
    draw.rectangle((tab.x1, tab.y1, tab.x2 - 1, tab.y2 - 1), fill=color)
    draw.text((tab.x1 + pad, (tab.y1 + tab.y2) / 2), text, font=font, fill=pick_contrasting_text(color), anchor="lm")
    return tab


def _overlap(first: Box, second: Box) -> float:
    width = min(first.x2, second.x2) - max(first.x1, second.x1)
    height = min(first.y2, second.y2) - max(first.y1, second.y1)
    return max(0.0, width) * max(0.0, height)


def _line_height(font: Font) -> int:
    _, top, _, bottom = font.getbbox("Ag0")
    return math.ceil(bottom - top)


def draw_label(image: ImageSource | DecodedImage, classification: Classification) -> Image.Image:
    """The image with its best label and the score in percent in a dark band along the bottom.

    The letters shrink for a long label, down to 11 pixels; then the label is cut with an ellipsis.
    """
    best = classification.best
    label, score = (best.label, f"{best.score * 100:.1f}%") if best else ("no label", "")
    result = _in_colour(image)
    width, height = result.size
    letters = max(11, round(min(width, height * 1.5) / 18))
    while letters > 11 and not _label_fits(label, score, letters, width):
        letters = max(11, round(letters * 0.92))
    pad = _padding(letters)
    font, label = font_for(label, letters)
    score_width = text_width(font, score)
    if score_width + 2 * pad > width // 2:  # a tiny image: the label matters more
        score, score_width = "", 0
    label = fit_text(font, label, width - 2 * pad - score_width - (pad if score else 0))

    band = min(height, _line_height(font) + 2 * pad)
    strip = result.crop((0, height - band, width, height))
    if strip.mode == "RGBA":
        strip = Image.alpha_composite(strip, Image.new("RGBA", strip.size, (*_BLACK, round(255 * _BAND_OPACITY))))
    else:
        strip = Image.blend(strip, Image.new("RGB", strip.size, _BLACK), _BAND_OPACITY)
    draw = ImageDraw.Draw(strip)
    draw.text((pad, band / 2), label, font=font, fill=_WHITE, anchor="lm")
    draw.text((width - pad, band / 2), score, font=font, fill=_WHITE, anchor="rm")
    result.paste(strip, (0, height - band))
    return result


def _padding(letters: int) -> int:
    return max(3, round(letters * 0.6))


def _label_fits(label: str, score: str, letters: int, width: int) -> bool:
    font, text = font_for(label, letters)
    return text_width(font, text) + text_width(font, score) + 3 * _padding(letters) <= width
