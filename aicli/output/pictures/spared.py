"""Which faces are left as they are: by their number, or by a place in the photo."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from aicli.errors import UsageError
from aicli.options import PictureOptions
from aicli.results import Face

__all__ = ["check_spared", "faces_to_hide", "not_there"]

NAMED = 10
"""No more faces are named that are not there."""


def check_spared(options: PictureOptions) -> None:
    """Raises :class:`UsageError` where ``keep`` holds no numbers or ``spare`` no places."""
    face_numbers(options.keep)
    for text in options.spare:
        point(text)


def faces_to_hide(faces: Sequence[Face], options: PictureOptions) -> list[Face]:
    """The faces but for those whose number is kept, or whose box holds a point that is spared."""
    kept = face_numbers(options.keep)
    points = [point(text) for text in options.spare]
    return [
        face
        for number, face in enumerate(faces, 1)
        if number not in kept and not any(holds(face, *place) for place in points)
    ]


def not_there(frames: Sequence[Sequence[Face]], options: PictureOptions) -> str | None:
    """A sentence, in ASCII, on faces to be left as they are that no frame of a photo has; ``None`` if all are there."""
    most = max(map(len, frames), default=0)
    numbers = [f"number {number}" for number in sorted(face_numbers(options.keep)) if number > most]
    points = [point(text) for text in options.spare]
    absent = [place for place in points if not any(holds(face, *place) for faces in frames for face in faces)]
    missing = numbers + [f"at {x:.12g},{y:.12g}" for x, y in absent]
    if len(missing) > NAMED:
        missing = [*missing[:NAMED], f"and {len(missing) - NAMED} more"]
    return f"there is no face {', '.join(missing)} to be left as it is" if missing else None


def holds(face: Face, x: float, y: float) -> bool:
    return face.box.x1 <= x <= face.box.x2 and face.box.y1 <= y <= face.box.y2


def face_numbers(text: str | None) -> set[int]:
    """``1,3`` as numbers of faces, counted from 1. Raises :class:`UsageError`."""
    if text is None:
        return set()
    if not re.fullmatch(r"\s*[1-9][0-9]{0,5}(\s*,\s*[1-9][0-9]{0,5})*\s*", text, re.ASCII):
        raise UsageError(f"{text!r} are not numbers of faces; write them as 1,3, counted from 1 as in the records")
    return {int(part) for part in text.split(",")}


def point(text: str) -> tuple[float, float]:
    """``120,80`` as x and y in pixels. Raises :class:`UsageError`."""
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise UsageError(f"{text!r} is not a place in a photo; write x,y in pixels, such as 120,80")
    return x, y
