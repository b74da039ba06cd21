"""From a model's name or path to what a task needs to run it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from aicli.catalog import entries, files, folders
from aicli.catalog.entries import Entry
from aicli.catalog.formats.tflite import TensorInfo
from aicli.catalog.inspect import ModelFile, inspect_file
from aicli.catalog.labels import fit_labels, read_labels
from aicli.catalog.preprocess import input_spec
from aicli.catalog.specs import Channels, ClassifierModel, DType, FaceModel, OutputKind, OutputSpec
from aicli.errors import LabelsError, ModelError, UsageError

if TYPE_CHECKING:
    from aicli.nn.engines import Engine

__all__ = ["load_classifier", "load_faces", "looks_like_path"]

Labels = str | Path | Sequence[str]
NETS = ("pnet", "rnet", "onet")
MAX_CLASSES = 1_000_000


class Source(NamedTuple):
    """A model that was asked for: where its file is and, for a model with a name, its entry."""

    name: str
    path: Path
    entry: Entry | None


def load_classifier(
    model: str | Path,
    labels: Labels | None = None,
    *,
    engine: Engine,
    input_range: str | tuple[float, float] | None = None,
    resize: str | None = None,
    channels: str | None = None,
    output_tensor: int | None = None,
) -> ClassifierModel:
    """A classifier by its name in the catalog or the path of a .tflite file.

    What is not given here comes from the catalog, else from the file's metadata, else from its quantisation; what is
    assumed after all stands in ``notes``. Raises :class:`ModelError` for a model that is unknown, damaged or no
    classifier, :class:`LabelsError` for labels that are missing or do not fit.
    """
    source = resolve(model, "classify")
    file = inspect_file(source.path, check=partial(_check, source))
    _require_safe(source, file.sha256, engine)
    known = source.entry.input if source.entry else {}
    normalization = file.metadata.normalization if file.metadata else None
    spec, notes = input_spec(
        source.name,
        file.info,
        known,
        normalization,
        input_range=input_range,
        resize=resize,
        channels=channels,
    )
    if file.metadata_error:
        notes += (f"{source.name}: the file's metadata are left out: {file.metadata_error}",)
    outputs = _output_shapes(file, engine, spec.width, spec.height)
    given = _given_labels(labels, source)
    if output_tensor is None and source.entry is not None:
        output_tensor = source.entry.output.get("tensor")
    index = _choose_output(source.name, outputs, output_tensor, given)
    output = _output_spec(source, file, outputs, index)
    chosen = given or _own_labels(source, file, index)
    fitted, label_notes = fit_labels(chosen, output.classes, _labels_name(labels, source))
    if output.kind == "logits":
        notes += (f"{source.name}: the output is logits; softmax makes probabilities of them",)
    if labels is not None or source.entry is None:
        notes += label_notes  # the catalog's own label files are known to fit
    return ClassifierModel(source.name, source.path, spec, output, fitted, notes)


def load_faces(model: str = "mtcnn") -> FaceModel:
    """An MTCNN by its name; one's own is registered by ``aicli models add``.

    Raises :class:`ModelError` when it is unknown, absent or damaged.
    """
    entry = entries.require_entry(str(model))
    if entry.task != "detect-faces":
        raise ModelError(
            f"the model {entry.name} is for the task {entry.task}; use: aicli {entry.task} -m {entry.name}"
        )
    paths = {net: files.require_file(entry, net) for net in NETS}
    for net, path in paths.items():
        files.check_digest(entry, entry.files[net], path, files.checksum(path))
    mean, std, order = (
        entry.input.get(key, default) for key, default in (("mean", 127.5), ("std", 128), ("channels", "rgb"))
    )
    if order not in get_args(Channels):
        raise ModelError(f"the model {entry.name} has channels '{order}' in the catalog, not rgb or bgr")
    return FaceModel(entry.name, **paths, mean=_first(mean), std=_first(std), channels=order)


def _first(value: Any) -> float:
    return float(value[0] if isinstance(value, (list, tuple)) else value)


def looks_like_path(model: str) -> bool:
    return model.lower().endswith((".tflite", ".lite")) or "/" in model or os.sep in model


def resolve(model: str | Path, task: str) -> Source:
    """The file behind a name or a path."""
    if isinstance(model, str) and not looks_like_path(model):
        entry = entries.find_entry(model)
        if entry is not None:
            if entry.task != task:
                raise ModelError(f"the model {entry.name} is for another task; use: aicli {entry.task} -m {entry.name}")
            return Source(entry.name, files.require_file(entry, "model"), entry)
        dropped = folders.user_models() / f"{model}.tflite"
        if _is_file(dropped):
            return Source(model, dropped, None)
        if not _is_file(Path(model)):
            entries.require_entry(model)  # raises, with the nearest names
    path = Path(model).expanduser()
    return Source(path.name, path, None)


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a name that the system refuses (too long) is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _check(source: Source, digest: str) -> None:
    """Refuses bytes that are not those of the catalog's model."""
    if source.entry is not None:
        files.check_digest(source.entry, source.entry.files["model"], source.path, digest)


def _require_safe(source: Source, digest: str, engine: Engine) -> None:
    """Has a child process run what the catalog does not vouch for; it must not crash."""
    if source.entry is not None and not source.entry.own and source.entry.files["model"].sha256:
        return
    if digest in entries.known_checksums():
        return
    from aicli.catalog.probe import require_safe

    require_safe(source.path, digest, engine)


def _output_shapes(file: ModelFile, engine: Engine, width: int, height: int) -> tuple[TensorInfo, ...]:
    """The outputs with their shapes for one image; the interpreter is asked only where the file leaves them open."""
    outputs = file.info.outputs
    if not outputs:
        raise ModelError(f"{file.path}: no image classifier: it has no output")
    if all(info.shape and -1 not in info.shape[1:] for info in outputs):
        return outputs
    interpreter = engine.interpreter(file.path, 1)
    try:
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], (1, height, width, 3))
        interpreter.allocate_tensors()
        shapes = [tuple(int(n) for n in item["shape"]) for item in interpreter.get_output_details()]
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{file.path}: {engine.name} cannot run this model: {reason}") from None
    return tuple(
        TensorInfo(info.name, info.dtype, shape, shape, info.scale, info.zero_point)
        for info, shape in zip(outputs, shapes, strict=True)
    )


def _classes(info: TensorInfo) -> int:
    """The classes of an output [1, classes], [classes] or [1, 1, 1, classes]; 0 for any other shape or type."""
    flat = all(size in (1, -1) for size in info.shape[:-1])
    usable = flat and bool(info.shape) and info.dtype in get_args(DType) and 1 <= info.shape[-1] <= MAX_CLASSES
    return info.shape[-1] if usable else 0


def _choose_output(name: str, outputs: tuple[TensorInfo, ...], wanted: int | None, labels: Sequence[str] | None) -> int:
    """The place of the output to read: the one asked for, the only one that fits the labels, the only usable one."""
    if wanted is not None:
        if not 0 <= wanted < len(outputs):
            raise UsageError(
                f"{name}: there is no output tensor {wanted}; the model has {len(outputs)} (counted from 0)"
            )
        return wanted
    if len(outputs) == 1:
        return 0
    usable = [index for index, info in enumerate(outputs) if _classes(info) > 1]
    fitting = [index for index in usable if labels is not None and _classes(outputs[index]) == len(labels)]
    for found in (fitting, usable):
        if len(found) == 1:
            return found[0]
    shapes = ", ".join(f"{index}: {'x'.join(map(str, info.shape))}" for index, info in enumerate(outputs))
    raise UsageError(f"{name}: the model has {len(outputs)} outputs ({shapes}); choose one with --output-tensor")


def _output_spec(source: Source, file: ModelFile, outputs: tuple[TensorInfo, ...], index: int) -> OutputSpec:
    info = outputs[index]
    classes = _classes(info)
    if not classes:
        shape = "x".join("?" if size == -1 else str(size) for size in info.shape) or "a single number"
        raise ModelError(
            f"{source.name}: no image classifier: its output {index} is {info.dtype} {shape}, not 1 x classes"
        )
    known: Any = source.entry.output.get("kind", "unknown") if source.entry else "unknown"
    kind: OutputKind = known if known in ("probabilities", "logits") else file.info.kinds[index]
    dtype: Any = info.dtype
    return OutputSpec(index, classes, dtype, info.scale or 1.0, info.zero_point, kind)


def _given_labels(labels: Labels | None, source: Source) -> tuple[str, ...] | None:
    """The labels that the caller gave, or those of the catalog."""
    if labels is not None:
        if isinstance(labels, (str, Path)):
            return read_labels(Path(labels).expanduser())
        return tuple(str(label) for label in labels)
    if source.entry is not None and "labels" in source.entry.files:
        path = files.require_file(source.entry, "labels")
        files.check_digest(source.entry, source.entry.files["labels"], path, files.checksum(path))
        return read_labels(path)
    if source.entry is None and source.path.parent == folders.user_models():
        for beside in (source.path.with_suffix(".txt"), source.path.with_name(f"{source.path.stem}_labels.txt")):
            if beside.is_file():
                return read_labels(beside)
    return None


def _own_labels(source: Source, file: ModelFile, index: int) -> tuple[str, ...]:
    """The labels that the file brings for this output. Raises :class:`LabelsError` when it brings none."""
    if file.metadata and index < len(file.metadata.labels) and file.metadata.labels[index]:
        return file.metadata.labels[index]
    known = entries.known_checksums().get(file.sha256)
    beside = next((path for path in source.path.parent.glob("*labels*.txt")), None)
    hint = ""
    if known:
        hint = f" (-m {known} is this model with its labels)"
    elif beside is not None:
        hint = f" (is it {beside}?)"
    raise LabelsError(f"{source.name}: the model brings no labels; give its label file with --labels FILE{hint}")


def _labels_name(labels: Labels | None, source: Source) -> str:
    return str(labels) if isinstance(labels, (str, Path)) else source.name
