"""Writes TFLite metadata: how the input is normalised, and a label file in a zip at the file's end.

Source: ``metadata_schema.fbs`` of TensorFlow Lite Support, version 1.4 (identifier M001); metadata.py reads it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers

__all__ = ["append_labels", "metadata_block"]

IDENTIFIER = b"M001"
LABELS_FILE = "labels.txt"
NORMALIZATION, IMAGE, RGB, AXIS_LABELS = 1, 2, 1, 2  # ProcessUnitOptions, ContentProperties, ColorSpaceType, type
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold: the same labels give the same bytes


def metadata_block(name: str, description: str, mean: Sequence[float], std: Sequence[float]) -> bytes:
    """The block ``TFLITE_METADATA`` of a classifier of RGB images whose labels are in ``labels.txt``.

    ``mean`` and ``std`` are in pixel units: the input is ``(pixel - mean) / std``.
    """
    builder = flatbuffers.Builder(1024)
    properties = _table(builder, [("Int8", 0, RGB)])
    content = _table(builder, [("Uint8", 0, IMAGE), ("Offset", 1, properties)])
    normalization = _table(builder, [("Offset", 0, _floats(builder, mean)), ("Offset", 1, _floats(builder, std))])
    unit = _table(builder, [("Uint8", 0, NORMALIZATION), ("Offset", 1, normalization)])
    image = [
        ("Offset", 0, builder.CreateString("image")),
        ("Offset", 3, content),
        ("Offset", 4, _tables(builder, [unit])),
    ]
    source = _tables(builder, [_table(builder, image)])
    file = _table(builder, [("Offset", 0, builder.CreateString(LABELS_FILE)), ("Int8", 2, AXIS_LABELS)])
    scores = [("Offset", 0, builder.CreateString("probability")), ("Offset", 6, _tables(builder, [file]))]
    answer = _tables(builder, [_table(builder, scores)])
    graph = _table(builder, [("Offset", 2, source), ("Offset", 3, answer)])
    model = [
        ("Offset", 0, builder.CreateString(name)),
        ("Offset", 1, builder.CreateString(description)),
        ("Offset", 3, _tables(builder, [graph])),
    ]
    builder.Finish(_table(builder, model), IDENTIFIER)
    return bytes(builder.Output())


def append_labels(file: bytes, labels: Sequence[str]) -> bytes:
    """A model file with its label file in a zip at the end, where TFLite's own tools put it; a line for each class."""
    target = io.BytesIO()
    target.write(file)
    with zipfile.ZipFile(target, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_FILE, EPOCH), "".join(f"{label}\n" for label in labels))
    return target.getvalue()


def _table(builder: Any, fields: Sequence[tuple[str, int, int]]) -> int:
    """A table of fields, each a kind of slot, its number in the schema, and its value."""
    builder.StartObject(max(number for _, number, _ in fields) + 1)
    for kind, number, value in fields:
        if kind == "Offset":
            builder.PrependUOffsetTRelativeSlot(number, value, 0)
        else:
            prepend: Callable[[int, int, int], None] = getattr(builder, f"Prepend{kind}Slot")
            prepend(number, value, 0)
    return int(builder.EndObject())


def _tables(builder: Any, items: Sequence[int]) -> int:
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):
        builder.PrependUOffsetTRelative(item)
    return int(builder.EndVector())


def _floats(builder: Any, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())
