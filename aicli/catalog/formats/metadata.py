"""The metadata that TFLite files may carry: how to normalise the input, and label files in a zip at their end.

Source: ``metadata_schema.fbs`` of TensorFlow Lite Support ("TFLite Metadata"), identifier M001.
"""

from __future__ import annotations

import math

from aicli._record import Record
from aicli.catalog.formats.appended import open_appended
from aicli.catalog.formats.label_file import MAX_BYTES, parse_labels
from aicli.catalog.formats.ultralytics import DICTIONARY
from aicli.catalog.ranges import triple
from aicli.catalog.specs import Triple
from aicli.errors import LabelsError
from aicli.nn.model_file.flatbuffer import Buffer, DamagedError, Table, root

__all__ = ["Metadata", "read_metadata"]

IDENTIFIER = b"M001"
NORMALIZATION = 1  # ProcessUnitOptions
AXIS_LABELS, VALUE_LABELS = 2, 3  # AssociatedFileType
MAX_ITEMS = 64


class Metadata(Record):
    """``labels`` are those of each output, an empty tuple where an output has none.

    ``locales`` are the languages that the first output's label files are said to be in.
    """

    name: str
    description: str
    author: str
    license: str
    normalization: tuple[Triple, Triple] | None
    label_files: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    locales: tuple[str, ...] = ()


def read_metadata(block: bytes, file: Buffer, locale: str | None = None) -> Metadata:
    """Reads the block ``TFLITE_METADATA`` of a model file, with the labels for ``locale`` (``de``, ``pt-BR``) if any.

    Raises :class:`DamagedError`.
    """
    model = root(block, IDENTIFIER)
    graph = model.item(3, 0) if model.count(3) else None
    normalization = None
    label_files: list[str] = []
    labels: list[tuple[str, ...]] = []
    locales: list[str] = []
    if graph is not None:
        if graph.count(2):
            normalization = _normalization(graph.item(2, 0))
        for index in range(min(graph.count(3), MAX_ITEMS)):
            found = _label_files(graph.item(3, index))
            names = [name for name, _ in sorted(found, key=lambda pair: _rank(pair[1], locale))]
            label_files += names
            labels.append(_first_labels(names, file))
            locales = locales or [language for _, language in found if language]
    return Metadata(
        name=model.text(0),
        description=model.text(1),
        author=model.text(4),
        license=model.text(5),
        normalization=normalization,
        label_files=tuple(label_files),
        labels=tuple(labels),
        locales=tuple(locales),
    )


def _normalization(tensor: Table) -> tuple[Triple, Triple] | None:
    for index in range(min(tensor.count(4), MAX_ITEMS)):
        unit = tensor.item(4, index)
        options = unit.table(1)
        if unit.number(0, "B") != NORMALIZATION or options is None:
            continue
        mean, std = options.numbers(0, "f"), options.numbers(1, "f")
        if len(mean) not in (1, 3) or len(std) not in (1, 3):
            continue
        if all(math.isfinite(value) for value in mean + std) and all(value > 0 for value in std):
            return triple(mean), triple(std)
    return None


def _label_files(tensor: Table) -> list[tuple[str, str]]:
    """The label files of an output and the language of each, empty where none is said."""
    found = []
    for index in range(min(tensor.count(6), MAX_ITEMS)):
        item = tensor.item(6, index)
        kind, name = item.number(2, "b"), item.text(0)
        if name != DICTIONARY and (kind in (AXIS_LABELS, VALUE_LABELS) or (kind == 0 and "label" in name.lower())):
            found.append((name, item.text(3)))
    return found


def _rank(language: str, wanted: str | None) -> int:
    """The order in which label files are tried: the language asked for, English, no language, the others."""
    parts = language.lower().replace("_", "-")
    asked = (wanted or "en").lower().replace("_", "-")
    if parts == asked:
        return 0
    if parts and parts.split("-")[0] == asked.split("-")[0]:
        return 1
    return 2 if parts.split("-")[0] == "en" else 3 if not parts else 4


def _first_labels(names: list[str], file: Buffer) -> tuple[str, ...]:
    """The labels of the first of these files that the zip at the model's end contains."""
    if not names:
        return ()
    try:
        with open_appended(file) as archive:
            for name in names:
                if archive.sizes.get(name, MAX_BYTES + 1) <= MAX_BYTES:
                    return parse_labels(archive.read(name), name)
    except LabelsError as error:
        raise DamagedError(str(error)) from None
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        raise DamagedError(f"the label files at its end cannot be read ({error})") from None
    return ()
