"""Text in pictures: a font that has the characters, and text that fits its place."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

from PIL import ImageFont

from aicli._text import visible

__all__ = ["Font", "fit_text", "font_for", "text_width"]

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow's own font knows little more than ASCII. These are looked for by name in the system's font folders.
_SYSTEM_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "arial.ttf", "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc")
_ELLIPSIS = "..."


@lru_cache(maxsize=64)
def _default(size: int) -> Font:
    return ImageFont.load_default(size)


@lru_cache(maxsize=64)
def _system(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _glyph(font: Font, character: str) -> tuple[Any, bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


@lru_cache(maxsize=4096)
def _covers(font: Font, character: str) -> bool:
    """Whether the font draws the character as anything but its box for missing glyphs."""
    return character.isspace() or _glyph(font, character) != _glyph(font, "\uffff")


def font_for(text: str, size: int) -> tuple[Font, str]:
    """A font of ``size`` pixels and the text as it can draw it.

    Pillow's built-in font where it has every character, else a common system font, else the built-in one with accents
    dropped and ``?`` for what is missing. Control characters are escaped.
    """
    text = visible(text)
    default = _default(size)
    missing = {character for character in text if not (character.isascii() or _covers(default, character))}
    if not missing:
        return default, text
    for name in _SYSTEM_FONTS:
        font = _system(name, size)
        if font and all(_covers(font, character) for character in missing):
            return font, text
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return default, "".join(c if c.isascii() or _covers(default, c) else "?" for c in plain)


def text_width(font: Font, text: str) -> int:
    """The width of the text in pixels, rounded up."""
    return int(font.getlength(text) + 0.999)


def fit_text(font: Font, text: str, width: int, *, middle: bool = False) -> str:
    """The text, or as much of it as fits into ``width`` pixels with an ellipsis.

    ``middle=True`` cuts in the middle: a file name keeps its number and its suffix.
    """
    if text_width(font, text) <= width:
        return text

    def shortened(kept: int) -> str:
        head = (kept + 1) // 2 if middle else kept
        tail = kept - head
        return text[:head].rstrip() + _ELLIPSIS + (text[-tail:] if tail else "")

    low, high = 0, len(text) - 1
    while low < high:  # the most characters that fit
        kept = (low + high + 1) // 2
        if text_width(font, shortened(kept)) <= width:
            low = kept
        else:
            high = kept - 1
    return shortened(low) if text_width(font, shortened(low)) <= width else ""
