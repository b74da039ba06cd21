"""What Ultralytics' exporter appends to a .tflite file: a zip with the model's task, image size and class names.

Two generations are known: ``temp_meta.txt`` with a Python dictionary, which TFLite Metadata name too, and
``metadata.json``.
"""

from __future__ import annotations

from typing import Any

from aicli._record import Record
from aicli.nn.model_file.flatbuffer import Buffer, DamagedError

__all__ = ["DICTIONARY", "Ultralytics", "read_ultralytics"]

DICTIONARY, JSON = "temp_meta.txt", "metadata.json"
MAX_BYTES = 4 << 20
END_RECORD, END_BYTES = b"PK\x05\x06", (1 << 16) + 22


class Ultralytics(Record):
    """``task`` is ``classify``, ``detect``, ``segment``, ``pose`` or ``obb``; ``names`` are those of the classes."""

    description: str
    task: str
    names: tuple[str, ...]


def read_ultralytics(file: Buffer) -> Ultralytics | None:
    """What is appended to the file, or ``None``. Raises :class:`DamagedError` where it cannot be read."""
    if END_RECORD not in bytes(file[-END_BYTES:]):
        return None
    from aicli.catalog.formats.appended import open_appended

    try:
        with open_appended(file) as archive:
            name = next((item for item in (JSON, DICTIONARY) if item in archive.sizes), None)
            if name is None:
                return None
            if archive.sizes[name] > MAX_BYTES:
                raise DamagedError(f"{name} at its end is too large")
            text = archive.read(name).decode()
        return _read(name, text)
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        raise DamagedError(f"what is appended to it cannot be read ({error})") from None


def _read(name: str, text: str) -> Ultralytics | None:
    found: Any
    try:
        if name == JSON:
            import json

            found = json.loads(text)
        else:
            import ast

            found = ast.literal_eval(text)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(str(error)) from None
    if not isinstance(found, dict) or "task" not in found:
        return None
    names = found.get("names")
    if isinstance(names, dict):
        by_number = {int(number): str(label) for number, label in names.items()}
        names = [by_number[number] for number in sorted(by_number)]
    labels = tuple(str(label) for label in names) if isinstance(names, list) else ()
    return Ultralytics(str(found.get("description", "")), str(found["task"]), labels)
