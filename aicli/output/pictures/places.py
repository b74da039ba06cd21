"""Files under names that the program chose: none takes the place of another file.

A name is looked up before a picture is drawn and taken when it is written. In between another program may have taken
it; so a file gets its name in a way that fails where the name exists, and then tries the next number.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import PurePath
from typing import Literal

from aicli._files import naming, publish
from aicli._record import Record
from aicli.errors import AicliError

__all__ = ["Place", "crop_path", "crop_stem", "numbered", "write_crops", "write_picture"]

_CROP = r"(?is)(.*)\.face[0-9]+\.jpg"
_LAST_NUMBER = 1_000_000


class Place(Record):
    """Where the program puts a picture, or with ``name`` as a stem the faces of a photo.

    ``number`` is the first to try: 1 is the name itself, 2 ``name-2``. ``part`` is the name of the unfinished file
    beside it. ``when_taken``: ``next`` takes the next number; ``compare`` too, unless the file is what would be written
    (a run that was ended has written it); ``replace`` replaces it, and of a link the link.
    """

    folder: str
    name: str
    number: int
    part: str
    when_taken: Literal["next", "compare", "replace"] = "next"

    @property
    def path(self) -> str:
        return os.path.join(self.folder, numbered(self.name, self.number))


def numbered(name: str, number: int) -> str:
    """``name`` for 1, else ``name-2`` and on, the number before the suffix."""
    if number == 1:
        return name
    path = PurePath(name)
    return f"{path.stem}-{number}{path.suffix}"


def write_picture(data: bytes | memoryview, place: Place) -> str:
    """Writes a file; returns the path that it got. Raises :class:`AicliError`."""
    for number in range(place.number, _LAST_NUMBER):
        path = os.path.join(place.folder, numbered(place.name, number))
        if place.when_taken == "compare" and _is_written(path, data):
            return path
        if place.when_taken != "replace" and os.path.lexists(path):
            continue
        if _write(data, path, os.path.join(place.folder, place.part), replace=place.when_taken == "replace"):
            return path
        if place.when_taken == "compare" and _is_written(path, data):
            return path  # a process of the run that was ended has written it just now
    raise AicliError(f"{place.path}: every name like this is taken; choose another folder")


def crop_path(stem: str, face: int) -> str:
    """Where face number ``face`` of a photo goes, counted from 1."""
    return f"{stem}.face{face}.jpg"


def crop_stem(path: str) -> str | None:
    """The stem of a path that is one of :func:`crop_path`, else ``None``."""
    match = re.fullmatch(_CROP, path) if ".face" in path.lower() else None
    return match[1] if match else None


def write_crops(faces: Sequence[tuple[int, bytes | memoryview]], place: Place) -> list[str]:
    """Writes the faces of a photo, numbered, under one stem; returns their paths. Raises :class:`AicliError`."""
    if not faces:
        return []
    for number in range(place.number, _LAST_NUMBER):
        stem = os.path.join(place.folder, numbered(place.name, number))
        targets = [(crop_path(stem, face), data) for face, data in faces]
        if place.when_taken != "replace":
            ours = [place.when_taken == "compare" and _is_written(path, data) for path, data in targets]
            if any(os.path.lexists(path) and not known for (path, _), known in zip(targets, ours, strict=True)):
                continue
        if _write_all(targets, place):
            return [path for path, _ in targets]
    raise AicliError(f"{place.path}: every name like this is taken; choose another folder")


def _write_all(targets: Sequence[tuple[str, bytes | memoryview]], place: Place) -> bool:
    """Writes several files, or none where one of the names was taken meanwhile."""
    part = os.path.join(place.folder, place.part)
    written: list[str] = []
    for path, data in targets:
        if place.when_taken == "compare" and os.path.lexists(path):
            continue  # it was compared
        if not _write(data, path, part, replace=place.when_taken == "replace"):
            if place.when_taken == "compare" and _is_written(path, data):
                continue  # a process of the run that was ended has written it just now
            for other in written:
                os.unlink(other)
            return False
        written.append(path)
    return True


def _write(data: bytes | memoryview, path: str, part: str, *, replace: bool) -> bool:
    """Whether the file got its name; without ``replace`` it does not where the name exists."""
    with naming(path):
        try:
            with open(part, "xb") as file:
                file.write(data)
            if replace:
                os.replace(part, path)
                return True
            return publish(part, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(part)


def _is_written(path: str, data: bytes | memoryview) -> bool:
    """Whether a file of its own, no link, holds just this; an empty one, which only kept the name, is removed."""
    try:
        if os.path.islink(path) or not os.path.isfile(path):
            return False
        if os.path.getsize(path) == 0:
            os.unlink(path)
        if os.path.getsize(path) != len(data):
            return False
        with open(path, "rb") as file:
            return file.read() == data
    except OSError:
        return False
