"""Labelled photos: from folders or lists to paths with labels."""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from aicli._same_file import FileSet
from aicli._text import shown
from aicli.errors import UsageError
from aicli.image.inputs import expand, natural_key

__all__ = [
    "LABEL_FILE",
    "WORDNET_ID",
    "Labelled",
    "folders_without_photos",
    "labelled_photos",
    "refuse_sources",
    "wordnet_photos",
]

LABEL_FILE = ".aicli-label"
"""In a class's folder: the label, where the folder's name could not hold it. ``classify --group`` writes it."""
LIST_SUFFIXES = (".csv", ".jsonl", ".ndjson")
MAX_LABEL = 1000
WORDNET_ID = re.compile(r"n\d{8}(?!\d)")
"""ImageNet's names of classes, as in ``n01440764/photo.jpg`` or ``n01440764_tench.jpg``."""


class Labelled(NamedTuple):
    """A photo and the label that somebody gave it."""

    path: Path
    label: str


def labelled_photos(
    source: str | os.PathLike[str], *, include: Sequence[str] = (), limit: int | None = None
) -> list[Labelled]:
    """The photos of a folder with one folder for each class, or those that a CSV or JSON Lines file lists.

    A class is called after its folder, or what ``.aicli-label`` in it says; photos may lie in folders below it. A list
    has the columns or keys ``path`` and ``label``, and relative paths are taken from where the list is. ``limit`` is
    the most photos of each class. Raises :class:`UsageError`.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        photos = _in_folders(path, include)
    elif path.suffix.lower() in LIST_SUFFIXES and path.exists():
        photos = _in_list(path)
    elif path.exists():
        raise UsageError(f"{shown(str(path))}: this is neither a folder of classes nor a list (.csv, .jsonl)")
    else:
        raise UsageError(f"{shown(str(path))}: no such folder; give one with a folder of photos for each class")
    return list(_limited(photos, limit))


def wordnet_photos(
    folder: str | os.PathLike[str], *, include: Sequence[str] = (), limit: int | None = None
) -> list[Labelled]:
    """The photos below a folder, labelled with the WordNet id that their name, or else their folder's, begins with.

    Raises :class:`UsageError` for a photo without one.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UsageError("no such folder; photos with WordNet ids lie in one").of(shown(str(root)))
    photos = []
    for item in expand([str(root)], include=include):
        if item.path is None or item.problem is not None:
            continue
        found = WORDNET_ID.match(item.path.name) or WORDNET_ID.match(item.path.parent.name)
        if found is None:
            raise UsageError("neither its name nor its folder's begins with a WordNet id").of(shown(str(item.path)))
        photos.append(Labelled(item.path, found[0]))
    return list(_limited(photos, limit))


def refuse_sources(targets: Iterable[str | os.PathLike[str]], sources: Iterable[str | os.PathLike[str]]) -> None:
    """Raises :class:`UsageError` when a file to write is one that is read, under whatever name or link."""
    existing = FileSet(map(_at_home, targets))
    found = existing and next(
        (target for source in sources if (target := existing.find(_at_home(source))) is not None), None
    )
    if found:
        raise UsageError("this file is read here; give another name to write to").of(shown(str(found)))


def _at_home(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # nobody of this name has a home
        return Path(path)


def _limited(photos: Iterable[Labelled], limit: int | None) -> Iterator[Labelled]:
    taken: Counter[str] = Counter()
    for photo in photos:
        if limit is None or taken[photo.label] < limit:
            taken[photo.label] += 1
            yield photo


def _in_folders(root: Path, include: Sequence[str]) -> Iterator[Labelled]:
    folders = _class_folders(root)
    if not folders:
        raise UsageError(
            f"{shown(str(root))}: it has no folders; put the photos of each class into a folder with the class's name"
        )
    for name in folders:
        label = _label_of(root / name)
        for item in expand([str(root / name)], include=include):
            if item.path is not None and item.problem is None:
                yield Labelled(item.path, label)


def folders_without_photos(source: str | os.PathLike[str], photos: Iterable[Labelled]) -> list[str]:
    """The names of a source's folders of classes of which none of the photos is. Raises :class:`UsageError`."""
    root = Path(source).expanduser()
    if not root.is_dir():
        return []
    held = {photo.path.relative_to(root).parts[0] for photo in photos if photo.path.is_relative_to(root)}
    return [name for name in _class_folders(root) if name not in held]


def _class_folders(root: Path) -> list[str]:
    """The names of the folders in a folder, in their natural order; a link that leads nowhere is none."""
    try:
        names = [name for name in os.listdir(root) if not name.startswith(".") and (root / name).is_dir()]
    except OSError as error:
        raise UsageError(f"{shown(str(root))}: cannot read the folder ({error.strerror})") from None
    return sorted(names, key=natural_key)


def _label_of(folder: Path) -> str:
    try:
        with (folder / LABEL_FILE).open(encoding="utf-8") as file:
            text = file.read(MAX_LABEL + 1).rstrip("\r\n")
    except FileNotFoundError:
        return folder.name
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown(str(folder / LABEL_FILE))}: cannot be read ({error}); remove it") from None
    return _checked(text, str(folder / LABEL_FILE))


def _in_list(path: Path) -> Iterator[Labelled]:
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _json_rows(path)
    for number, row in rows:
        place = f"{path}, line {number}"
        name, label = row.get("path") or row.get("image"), row.get("label")
        if isinstance(label, int) and not isinstance(label, bool):
            label = str(label)
        if not isinstance(name, str) or not isinstance(label, str) or not name:
            raise UsageError(f"{shown(place)}: a row needs 'path' and 'label'")
        yield Labelled(path.parent / name, _checked(label, place))


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            found = {mark: next(csv.reader([head.strip().lower()], delimiter=mark), []) for mark in ",;\t"}
            columns = {mark: [name.strip() for name in names] for mark, names in found.items()}
            mark = next((mark for mark, names in columns.items() if "label" in names), None)
            if mark is None and head.strip():
                raise UsageError(f"{shown(str(path))}: its first line has to name the columns 'path' and 'label'")
            reader = csv.DictReader(file, columns[mark or ","], delimiter=mark or ",")
            for row in reader:
                yield reader.line_num + 1, dict(row)
    except UnicodeDecodeError:
        raise UsageError(f"{shown(str(path))}: not UTF-8; save the list as CSV in UTF-8") from None
    except (OSError, csv.Error) as error:
        raise UsageError(f"{shown(str(path))}: cannot be read as CSV ({error})") from None


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    yield number, row if isinstance(row, dict) else {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{shown(str(path))}: cannot be read as JSON Lines ({error})") from None


def _checked(label: str, place: str) -> str:
    text = label.strip()
    if not text or len(text) > MAX_LABEL or any(character in text for character in "\r\n\0"):
        raise UsageError(f"{shown(place)}: a label is one line of 1 to {MAX_LABEL} characters")
    return text
