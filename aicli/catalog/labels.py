"""Label files: one label per line, in the order of the model's classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from aicli.errors import LabelsError

__all__ = ["fit_labels", "parse_labels", "read_labels"]

MAX_BYTES = 64 << 20
NUMBERED = re.compile(r"\s*(\d{1,9})(?:\s*:\s*|\s+)(\S.*)")
BACKGROUND = "background"


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels of a file. Raises :class:`LabelsError` when it is missing, empty or no UTF-8 text."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LabelsError(f"{path}: more than {MAX_BYTES >> 20} MiB, this is no label file")
        data = path.read_bytes()
    except OSError as error:
        raise LabelsError(f"cannot read the labels {path}: {error.strerror or error}") from None
    return parse_labels(data, str(path))


def parse_labels(data: bytes, name: str) -> tuple[str, ...]:
    """The labels in the bytes of a label file.

    Takes a byte order mark, CRLF and blank lines at the end, and the numbered forms ``0 cat`` and ``0: cat`` (Teachable
    Machine, Coral) when the numbers are exactly those of the classes.
    """
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise LabelsError(f"{name}: byte {error.start} is not UTF-8; save the labels as UTF-8 text") from None
    if "\0" in text:
        raise LabelsError(f"{name}: this is no text file; a label file has one label per line")
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", text)]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise LabelsError(f"{name}: there are no labels in this file")
    return _without_numbers(lines)


def _without_numbers(lines: list[str]) -> tuple[str, ...]:
    matches = [NUMBERED.fullmatch(line) for line in lines]
    numbered = {int(match[1]): match[2].strip() for match in matches if match}
    if sorted(numbered) == list(range(len(lines))):
        return tuple(numbered[index] for index in range(len(lines)))
    return tuple(lines)


def fit_labels(labels: Sequence[str], classes: int, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """One label per class, and notes on what was done for that.

    ImageNet comes with 1000 classes and, from TensorFlow, with a background class before them: 1000 labels for 1001
    classes and the reverse are told apart. Raises :class:`LabelsError` on any other difference.
    """
    found = tuple(labels)
    if len(found) == classes:
        return found, ()
    has_background = bool(found) and found[0].lower() == BACKGROUND
    if (len(found), classes) == (1000, 1001) and not has_background:
        return (BACKGROUND, *found), (f"{name}: 1000 labels for 1001 classes, so class 0 is taken as the background",)
    if (len(found), classes) == (1001, 1000):
        return found[1:], (f"{name}: 1001 labels for 1000 classes, so the first one, '{found[0]}', is left out",)
    raise LabelsError(f"{name}: the model has {classes} classes, but there are {len(found)} labels")
