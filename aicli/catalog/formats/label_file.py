"""Label files as people have them: a name a line, numbered lines, CSV, JSON, YAML with ``names:``, pbtxt.

What a file is, is seen from its text; its name only helps. Every reader gives the labels in the order of the classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from aicli.errors import LabelsError

__all__ = ["MAX_BYTES", "parse_labels"]

MAX_BYTES = 64 << 20

# A number and what parts it from the name: anything but a blank is no part of a name.
# Compiled when one is needed, which most label files do not ask for.
NUMBERED = r"(?P<number>\d{1,9})(?P<mark>\s*[:.,;=)\]|\t]\s*|\s+-\s+|\s+)(?P<name>\S.*)"
NUMBER_LAST = r"(?P<name>\S.*?)(?P<mark>\s*[:,;=|\t]\s*)(?P<number>\d{1,9})"
SYNSET = r"n\d{8}[\s,:;]\s*(\S.*)"
QUOTED = r"""(?P<mark>["'])(?P<name>.*)(?P=mark),?"""
HEADER_NAMES = ("name", "display_name", "label", "labels", "class_name", "classname", "class", "category", "title")
HEADER_NUMBERS = ("id", "index", "idx", "class_id", "classid", "label_id", "number", "no", "", "class", "label")
KEYS = ("names", "labels", "classes", "id2label", "class_names", "categories")
SAME_NAMES = 0.9
"""Numbers before blanks belong to the names where fewer than this part of the names differ without them."""


def parse_labels(data: bytes, name: str) -> tuple[str, ...]:
    """The labels in the bytes of a file. Raises :class:`LabelsError`, which says what the file looks like instead."""
    text = _text(data, name)
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", text)]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise LabelsError(f"{name}: there are no labels in this file")
    begin = text.lstrip()[:200].lower()
    if begin.startswith(("{", "[")):
        value = _json(text)
        if value is not None:
            return _from_json(value, name)
    if begin.startswith(("<!doctype", "<html", "<?xml")):
        raise LabelsError(f"{name}: this is a web page or XML; a label file has one name per line")
    if "{" in text and re.search(r"^\s*item\s*\{", text, re.MULTILINE):
        return _from_pbtxt(text, name)
    if "names" in text and re.search(r"^names\s*:", text, re.MULTILINE):
        return _from_yaml(lines, text, name)
    if begin.startswith("{"):
        raise LabelsError(f"{name}: this looks like JSON and is none; a label file has one name per line")
    return _from_csv(lines) or _from_lines(lines)


def _text(data: bytes, name: str) -> str:
    kinds = {b"\x89PNG": "a PNG image", b"\xff\xd8\xff": "a JPEG image", b"PK\x03\x04": "a zip file", b"%PDF": "a PDF"}
    kind = next((word for magic, word in kinds.items() if data.startswith(magic)), None)
    if data[4:8] == b"TFL3":
        kind = "a .tflite model"
    if kind is not None:
        raise LabelsError(f"{name}: this is {kind}; a label file has one name per line")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise LabelsError(f"{name}: byte {error.start} is not UTF-8; save the labels as UTF-8 text") from None
    if "\0" in text:
        raise LabelsError(f"{name}: this is not a text file; a label file has one name per line")
    return text


def _from_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """One name a line, with or without a number, quotes or a WordNet id."""
    names = _without_numbers(lines) or tuple(lines)
    if names[0].startswith("n"):
        ids = [re.fullmatch(SYNSET, line) for line in names]
        if all(ids):
            names = tuple(found[1].strip() for found in ids if found)
    return _unquoted(names)


def _without_numbers(lines: Sequence[str]) -> tuple[str, ...]:
    """The names in the order of their numbers, where these are exactly those of the classes; else nothing."""
    for form, place in ((NUMBERED, 0), (NUMBER_LAST, -1)):
        if not lines[0][place:][:1].isdecimal():
            continue
        found = [re.fullmatch(form, line) for line in lines]
        matches = [match for match in found if match]
        numbered = {int(match["number"]): match["name"].strip() for match in matches}
        if len(matches) < len(lines) or sorted(numbered) not in (
            list(range(len(lines))),
            list(range(1, len(lines) + 1)),
        ):
            continue
        names = tuple(numbered[number] for number in sorted(numbered))
        if all(match["mark"].strip() or "\t" in match["mark"] for match in matches):
            return names
        # "2 fingers": one and many of the same thing are the same here.
        kinds = {label.casefold().removesuffix("s") for label in names}
        return names if len(kinds) >= SAME_NAMES * len(names) else ()
    return ()


def _unquoted(names: Sequence[str]) -> tuple[str, ...]:
    if not names[0].startswith(('"', "'")):
        return tuple(names)
    found = [re.fullmatch(QUOTED, label) for label in names]
    return tuple(match["name"] for match in found if match) if all(found) else tuple(names)


def _from_csv(lines: Sequence[str]) -> tuple[str, ...]:
    """The column of names of a table whose first line names its columns; nothing for any other text."""
    separator = next((mark for mark in ("\t", ";", ",") if mark in lines[0]), None)
    if separator is None or len(lines) < 2:
        return ()
    # Most files with a comma in their first line are plain ones: their rows are not read.
    if not all(cell.strip('" \t').lower() in HEADER_NAMES + HEADER_NUMBERS for cell in lines[0].split(separator)):
        return ()
    import csv

    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator) if row]
    header = [cell.lower() for cell in rows[0]]
    if not all(cell in HEADER_NAMES + HEADER_NUMBERS for cell in header):
        return ()
    column = next(
        (header.index(cell) for cell in HEADER_NAMES if cell in header and not _numeric(rows, header.index(cell))), None
    )
    numbers = next((place for place in range(len(header)) if place != column and _numeric(rows, place)), None)
    if column is None or any(len(row) != len(header) for row in rows):
        return ()
    names = [row[column] for row in rows[1:]]
    if numbers is None:
        return tuple(names)
    order = sorted(range(len(names)), key=lambda place: int(rows[1:][place][numbers]))
    return tuple(names[place] for place in order)


def _numeric(rows: Sequence[Sequence[str]], column: int) -> bool:
    return all(len(row) > column and row[column].isdecimal() and len(row[column]) < 10 for row in rows[1:])


def _json(text: str) -> Any:
    """The value; ``None`` where the text is no JSON."""
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _from_json(value: Any, name: str) -> tuple[str, ...]:
    """A list of names, a map from number to name or back, a list of records, or one of these under a usual key."""
    found = _names_of(value)
    if found is None:
        keys = f" with the keys {', '.join(map(str, list(value)[:5]))}" if isinstance(value, dict) else ""
        raise LabelsError(
            f"{name}: this is JSON{keys}, but neither a list of names nor a map between class numbers and names"
        )
    return found


def _names_of(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, list):
        if value and all(isinstance(item, str) for item in value):
            return tuple(value)
        return _of_records(value) if value and all(isinstance(item, dict) for item in value) else None
    if not isinstance(value, dict) or not value:
        return None
    for key in KEYS:
        if isinstance(value.get(key), (list, dict)):
            return _names_of(value[key])
    if all(_number(number) is not None for number in value.values()):
        return _in_order((number, label) for label, number in value.items())
    # Keras' class index has pairs of a WordNet id and a name.
    return _in_order((key, label[-1] if isinstance(label, list) and label else label) for key, label in value.items())


def _of_records(records: Sequence[dict[str, Any]]) -> tuple[str, ...] | None:
    first = records[0]
    key = next((key for key in HEADER_NAMES if isinstance(first.get(key), str)), None)
    number = next((key for key in HEADER_NUMBERS if isinstance(first.get(key), int)), None)
    if key is None or not all(isinstance(item.get(key), str) for item in records):
        return None
    if number is None:
        return tuple(item[key] for item in records)
    return _in_order((item.get(number), item[key]) for item in records)


def _in_order(pairs: Iterable[tuple[Any, Any]]) -> tuple[str, ...] | None:
    """The names by their numbers, which begin at 0 or 1 and leave none out; else ``None``."""
    listed = list(pairs)
    numbered = {_number(number): label for number, label in listed}
    if (
        None in numbered
        or len(numbered) != len(listed)
        or not all(isinstance(label, str) for label in numbered.values())
    ):
        return None
    numbers = sorted(number for number in numbered if number is not None)
    if numbers not in (list(range(len(numbers))), list(range(1, len(numbers) + 1))):
        return None
    return tuple(numbered[number] for number in numbers)


def _number(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else None


def _from_pbtxt(text: str, name: str) -> tuple[str, ...]:
    """A label map of TensorFlow's object detection: items with an id and a name."""
    pairs = []
    for body in re.findall(r"item\s*\{([^{}]*)\}", text):
        number = re.search(r"\bid\s*:\s*(\d{1,9})", body)
        label = re.search(r"""\bdisplay_name\s*:\s*(["'])(.*?)\1""", body) or re.search(
            r"""\bname\s*:\s*(["'])(.*?)\1""", body
        )
        if number and label:
            pairs.append((int(number[1]), label[2]))
    found = _in_order(pairs)
    if not found:
        raise LabelsError(f"{name}: this is a label map (pbtxt) whose ids do not count from 0 or 1")
    return found


def _from_yaml(lines: Sequence[str], text: str, name: str) -> tuple[str, ...]:
    """The list or map below ``names:``, as in the data.yaml of a YOLO data set; no other YAML is read."""
    start = next(place for place, line in enumerate(lines) if re.match(r"names\s*:", line))
    inline = _yaml_text(lines[start].split(":", 1)[1])
    raw = re.split(r"\r\n|\n|\r", text)
    if inline:
        if inline.startswith(("[", "{")) and inline.endswith(("]", "}")):
            import csv

            items = [item.strip() for item in next(csv.reader([inline[1:-1]], skipinitialspace=True))]
            found = _from_items(items, mapped=inline.startswith("{"))
        else:
            found = None
    else:
        items = []
        for line, shown in zip(lines[start + 1 :], raw[start + 1 :], strict=False):
            if line and not line.startswith(("#", "-")) and not shown.startswith((" ", "\t")):
                break
            if line and not line.startswith("#"):
                items.append(_yaml_text(line))
        dashed = all(item.startswith("-") for item in items)
        found = _from_items([item[1:].strip() for item in items] if dashed else items, mapped=not dashed)
    if not found:
        raise LabelsError(f"{name}: this is YAML whose names: cannot be read; write one name per line instead")
    return found


def _from_items(items: Sequence[str], *, mapped: bool) -> tuple[str, ...] | None:
    if not mapped:
        return tuple(_bare(item) for item in items) or None
    pairs = [item.split(":", 1) for item in items]
    if not all(len(pair) == 2 for pair in pairs):
        return None
    return _in_order((_bare(number), _bare(label)) for number, label in pairs)


def _bare(text: str) -> str:
    text = text.strip()
    match = re.fullmatch(QUOTED, text)
    return match["name"] if match and not text.endswith(",") else text


def _yaml_text(text: str) -> str:
    """A line without its comment."""
    text = text.strip()
    return text if text.startswith(('"', "'")) else re.sub(r"\s+#.*$", "", text)
