"""The labels of a model: read from a file, fitted to its classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aicli._text import counted
from aicli.catalog.formats.label_file import MAX_BYTES, parse_labels
from aicli.errors import LabelsError

__all__ = ["fit_labels", "numbered_labels", "read_labels"]

BACKGROUND = "background"


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels of a file. Raises :class:`LabelsError` when it is missing, empty or no UTF-8 text."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LabelsError(f"{path}: more than {MAX_BYTES >> 20} MiB, this is not a label file")
        data = path.read_bytes()
    except OSError as error:
        raise LabelsError(f"cannot read the labels {path}: {error.strerror or error}") from None
    return parse_labels(data, str(path))


def numbered_labels(classes: int) -> tuple[str, ...]:
    """What classes are called that have no names."""
    return tuple(f"class {index}" for index in range(classes))


def fit_labels(labels: Sequence[str], classes: int, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """One label per class, and notes on what was done for that.

    ImageNet comes with 1000 classes and, from TensorFlow, with a background class before them: 1000 labels for 1001
    classes and the reverse are told apart. Raises :class:`LabelsError` on any other difference.
    """
    found = tuple(labels)
    if len(found) == classes:
        return found, ()
    listed = tuple(part.strip() for part in found[0].split(",")) if len(found) == 1 else ()
    if classes > 1 and len(listed) == classes and all(listed):
        return listed, ()  # all names in one line
    has_background = bool(found) and found[0].lower() == BACKGROUND
    if (len(found), classes) == (1000, 1001) and not has_background:
        return (BACKGROUND, *found), (f"{name}: 1000 labels for 1001 classes, so class 0 is taken as the background",)
    if (len(found), classes) == (1001, 1000):
        return found[1:], (f"{name}: 1001 labels for 1000 classes, so the first one, '{found[0]}', is left out",)
    there = f"there {'is' if len(found) == 1 else 'are'} {counted(len(found), 'label')}"
    problem = f"{name}: the model has {counted(classes, 'class')}, but {there}"
    raise LabelsError(f"{problem}; give a name for each, in the model's order")
