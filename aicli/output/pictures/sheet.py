"""A contact sheet: many photos as thumbnails on one picture, each with its answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image, ImageDraw

from aicli.errors import UsageError
from aicli.output.pictures.fonts import Font, fit_text, font_for

__all__ = ["ContactSheet"]

# (up to how many photos, side of a thumbnail, letters): the more photos, the smaller each; a sheet stays below
# 7000 pixels a side and its thumbnails below 60 MB of memory.
_STEPS = ((60, 240, 15), (250, 180, 13), (1000, 128, 11), (2500, 88, 10))

_BACKGROUND = (250, 250, 250)
_FRAME = (233, 234, 236)
_CAPTION = (28, 30, 33)
_SUBCAPTION = (104, 108, 114)


@dataclass(frozen=True)
class _Entry:
    thumbnail: Image.Image
    caption: str
    subcaption: str


class ContactSheet:
    """Collects photos one by one and keeps thumbnails only, so that memory stays flat.

    Thumbnails are 240 pixels wide up to 60 photos, then 180, 128 and, from 1000 to 2500 photos, 88. Photos beyond
    ``LIMIT`` are counted, not kept; a line at the foot of the sheet says how many they are.
    """

    LIMIT = _STEPS[-1][0]

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._left_out = 0
        self._step = 0

    def __len__(self) -> int:
        """How many photos were added, those beyond the limit included."""
        return len(self._entries) + self._left_out

    def add(self, image: Image.Image, caption: str, subcaption: str = "") -> None:
        """Add a photo with the two lines below it, such as its name and its best label."""
        if len(self._entries) >= self.LIMIT:
            self._left_out += 1
            return
        if len(self._entries) >= _STEPS[self._step][0]:
            self._step += 1
            self._entries = [
                _Entry(_thumbnail(entry.thumbnail, self._side), entry.caption, entry.subcaption)
                for entry in self._entries
            ]
        self._entries.append(_Entry(_thumbnail(image, self._side), caption, subcaption))

    @property
    def _side(self) -> int:
        return _STEPS[self._step][1]

    def render(self, columns: int | None = None) -> Image.Image:
        """The sheet as an RGB image; by default about four wide by three high.

        Raises :class:`UsageError` when no photo was added or ``columns`` is below 1.
        """
        if not self._entries:
            raise UsageError("there is no photo to put on a contact sheet")
        if columns is not None and columns < 1:
            raise UsageError(f"a contact sheet needs at least 1 column, not {columns}")
        _, side, letters = _STEPS[self._step]
        gap = side // 12 + 4
        line = round(letters * 1.35)
        cell_width, cell_height = side + gap, side + 2 * line + gap + gap // 2
        count = len(self._entries)
        columns = min(count, columns or math.ceil(math.sqrt(count * 4 / 3 * cell_height / cell_width)))
        rows = math.ceil(count / columns)
        foot = 2 * line if self._left_out else 0
        sheet = Image.new("RGB", (columns * cell_width + gap, rows * cell_height + gap + foot), _BACKGROUND)
        draw = ImageDraw.Draw(sheet)
        for number, entry in enumerate(self._entries):
            row, column = divmod(number, columns)
            left, top = gap + column * cell_width, gap + row * cell_height
            _place(sheet, draw, entry.thumbnail, left, top, side)
            text_top = top + side + gap // 3
            _line(draw, entry.caption, (left, text_top), side, letters, _CAPTION, middle=True)
            _line(draw, entry.subcaption, (left, text_top + line), side, letters, _SUBCAPTION)
        if self._left_out:
            note = f"and {self._left_out} more"
            _line(draw, note, (gap, sheet.height - foot), sheet.width - 2 * gap, letters, _SUBCAPTION)
        return sheet


def _thumbnail(image: Image.Image, side: int) -> Image.Image:
    """The image within ``side`` x ``side`` pixels, never enlarged. ``image`` stays as it is."""
    scale = min(1.0, side / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0) if scale < 1 else image.copy()
    small.info = {}
    return small if small.mode == "RGB" else small.convert("RGB")


def _place(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, thumbnail: Image.Image, left: int, top: int, side: int
) -> None:
    draw.rectangle((left, top, left + side - 1, top + side - 1), fill=_FRAME)
    sheet.paste(thumbnail, (left + (side - thumbnail.width) // 2, top + (side - thumbnail.height) // 2))


def _line(
    draw: ImageDraw.ImageDraw,
    text: str,
    place: tuple[int, int],
    width: int,
    letters: int,
    color: tuple[int, int, int],
    *,
    middle: bool = False,
) -> None:
    font: Font
    font, text = font_for(text, letters)
    text = fit_text(font, text, width, middle=middle)
    if text:
        draw.text((place[0], place[1] + letters), text, font=font, fill=color, anchor="ls")
