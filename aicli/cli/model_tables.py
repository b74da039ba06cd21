"""How ``aicli models`` shows models to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aicli._text import visible
from aicli.cli.console import told

if TYPE_CHECKING:
    from aicli.catalog.entries import Entry
    from aicli.tasks.trial import Trial

__all__ = ["aligned", "describe_file", "facts_table", "models_table", "trials_table"]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines with their columns aligned; the last column is left as long as it is."""
    if not rows:
        return "nothing here"
    shown = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown
    )


def models_table(entries: Sequence[Entry]) -> str:
    """A line per model, and below them where the accuracies were published."""
    from aicli.catalog.files import format_size

    sources: list[str] = []
    rows = [["NAME", "STATE", "TASK", "INPUT", "SIZE", "LICENCE", "TOP-1", ""]]
    for entry in entries:
        side = f"{entry.input['width']}x{entry.input['height']}" if {"width", "height"} <= entry.input.keys() else "any"
        remark = "default" if entry.default else "" if entry.verified or entry.own else "unverified: --trust"
        row = [entry.name, entry.state, entry.task, side, format_size(entry.size), entry.license]
        rows.append([*row, _accuracy(entry, sources), remark])
    notes = [f"[{number}] {visible(source)}" for number, source in enumerate(sources, 1)]
    return "\n".join([aligned(rows), *(["", *notes] if notes else [])])


def _accuracy(entry: Entry, sources: list[str]) -> str:
    """Top-1 with the number of its source; values up to 1 are fractions."""
    if not entry.accuracy or "top1" not in entry.accuracy:
        return "-"
    top1 = float(entry.accuracy["top1"])
    source = f"{entry.accuracy.get('dataset', '')}: {entry.accuracy.get('source', 'unknown')}".lstrip(": ")
    if source not in sources:
        sources.append(source)
    return f"{top1 * 100 if top1 <= 1 else top1:.1f}% [{sources.index(source) + 1}]"


def trials_table(trials: Sequence[Trial]) -> str:
    """A line per feeding with its best labels; a star marks the one that is used."""
    rows = [["", "INPUT", "LABELS"]]
    for trial in trials:
        best = "; ".join(f"{found.label} {found.score:.3f}" for found in trial.predictions)
        rows.append(["*" if trial.used else "", told(trial.option), trial.error or best])
    return aligned(rows) + "\n\n* is what the model gets when nobody says otherwise."


def facts_table(facts: Mapping[str, Any], indent: str = "") -> str:
    """Nested facts as indented lines, name before value; what is empty is left out."""
    lines = []
    for name, value in facts.items():
        if value is None or value in ("", [], {}):
            continue
        label = f"{indent}{visible(name)}"
        if isinstance(value, Mapping):
            lines += [f"{label}:", facts_table(value, indent + "  ")]
        elif isinstance(value, list) and any(isinstance(item, (Mapping, str)) and len(item) > 20 for item in value):
            lines.append(f"{label}:")
            lines += [f"{indent}  {_text(item)}" for item in value]
        else:
            lines.append(f"{label}: {_text(value)}")
    return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items() if item not in (None, ""))
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return visible(f"{value:g}" if isinstance(value, float) else str(value))


def describe_file(path: Path) -> dict[str, Any]:
    """What a .tflite file says about itself, and how aicli would feed it; the model is not run."""
    from aicli.catalog.entries import known_checksums
    from aicli.catalog.inspect import inspect_file
    from aicli.errors import ModelError

    file = inspect_file(path)
    facts: dict[str, Any] = {
        "file": str(path),
        "bytes": file.size,
        "sha256": file.sha256,
        "catalog": known_checksums().get(file.sha256),
        "description": file.info.description,
        "inputs": [_tensor(info) for info in file.info.inputs],
        "outputs": [
            {**_tensor(info), "kind": kind} for info, kind in zip(file.info.outputs, file.info.kinds, strict=True)
        ],
        "signatures": [signature.name for signature in file.info.signatures],
        "custom_operators": list(file.info.custom),
        "ultralytics": _ultralytics(file.ultralytics) if file.ultralytics else None,
        "metadata": _metadata(file.metadata) if file.metadata else None,
        "metadata_error": file.metadata_error,
        "preprocessing": None,
        "notes": [],
    }
    try:
        facts |= _preprocessing(file)
    except ModelError as error:
        facts["notes"] = [told(error)]
    return facts


def _preprocessing(file: Any) -> dict[str, Any]:
    from aicli.catalog.preprocess import FeedingOptions, input_spec
    from aicli.catalog.ranges import Feeding
    from aicli.errors import Remark

    spec, notes = input_spec(file.path.name, file.info, {}, file.normalization, FeedingOptions(), file.crop)
    feeding = Feeding(Remark(), spec.mean, spec.std)
    shown = {
        "width": spec.width,
        "height": spec.height,
        "range": [[round(end, 6) for end in feeding.ends(channel)] for channel in range(spec.depth)],
        "mean": list(spec.mean),
        "std": list(spec.std),
        "channels": spec.channels,
        "resize": spec.crop,
    }
    return {"preprocessing": shown, "notes": [told(note) for note in notes]}


def _tensor(info: Any) -> dict[str, Any]:
    return {
        "name": info.name,
        "dtype": info.dtype,
        "shape": list(info.shape),
        "scale": info.scale or None,
        "zero_point": info.zero_point if info.scale else None,
    }


def _ultralytics(found: Any) -> dict[str, Any]:
    return {"description": found.description, "task": found.task, "labels": len(found.names)}


def _metadata(metadata: Any) -> dict[str, Any]:
    normalization = metadata.normalization
    return {
        "name": metadata.name,
        "description": metadata.description,
        "author": metadata.author,
        "license": metadata.license,
        "mean": list(normalization[0]) if normalization else None,
        "std": list(normalization[1]) if normalization else None,
        "label_files": list(metadata.label_files),
        "labels": [len(labels) for labels in metadata.labels],
    }
