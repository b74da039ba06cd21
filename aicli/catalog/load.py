"""From a model's name or path to what a task needs to run it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aicli._record import Record
from aicli.catalog import entries, files, folders
from aicli.catalog.entries import Entry
from aicli.catalog.files import open_mapped
from aicli.catalog.formats import own_block
from aicli.catalog.formats.own_block import OwnBlock
from aicli.catalog.formats.tflite import with_graph_first
from aicli.catalog.inspect import ModelFile, check_file, inspect_file
from aicli.catalog.labels import fit_labels, numbered_labels, read_labels
from aicli.catalog.outputs import choose_output, has_open_shapes, output_shapes, output_spec
from aicli.catalog.preprocess import FeedingOptions, input_spec
from aicli.catalog.refusals import require_classifier, require_weights
from aicli.catalog.required import require_file
from aicli.catalog.signatures import choose_signature
from aicli.catalog.specs import ClassifierModel
from aicli.errors import ModelError, OptionName, Remark
from aicli.nn.model_file.flatbuffer import DamagedError

if TYPE_CHECKING:
    from aicli.nn.engines import AnyEngine

__all__ = ["load_classifier", "looks_like_path"]

Labels = str | Path | Sequence[str]


class Source(Record):
    """A model that was asked for: where its file is and, for a model with a name, its entry."""

    name: str
    path: Path
    entry: Entry | None


def load_classifier(
    model: str | Path,
    labels: Labels | None = None,
    *,
    engine: AnyEngine,
    input_range: str | tuple[float, float] | None = None,
    mean: str | tuple[float, ...] | None = None,
    std: str | tuple[float, ...] | None = None,
    resize: str | None = None,
    channels: str | None = None,
    output_tensor: int | None = None,
    signature: str | None = None,
    locale: str | None = None,
    input_size: str | None = None,
) -> ClassifierModel:
    """A classifier by its name in the catalog or the path of a .tflite file.

    What is not given here comes from the catalog, else from the file: its metadata, its quantisation, its operators;
    what is assumed after all stands in ``notes``. ``mean`` and ``std`` are one number or three (red, green, blue),
    ``locale`` is the language of the labels where the file has several, ``input_size`` the size (``224``, ``320x240``)
    of an input that leaves it open. Raises :class:`ModelError` for a model that is unknown, damaged or no classifier,
    :class:`LabelsError` for labels that cannot be read or do not fit.
    """
    source = resolve(model, "classify")
    file = inspect_file(source.path, check=partial(_check, source), locale=locale)
    require_classifier(source.name, file)
    own = _own_block(file) if source.entry is None else None
    known = source.entry.input if source.entry else own.input if own else {}
    given = _given_labels(labels, source) or (own.labels if own else None)
    chosen, notes = choose_signature(source.name, file, signature or known.get("signature"), given)
    if chosen is not None and chosen.graph:
        file = inspect_file(source.path, graph=chosen.graph, locale=locale)
    require_weights(source.name, file, chosen.name if chosen is not None else None)
    options = FeedingOptions(input_range, mean, std, resize, channels, input_size)
    spec, assumed = input_spec(source.name, file.info, known, file.normalization, options, file.crop)
    notes += assumed
    if file.metadata_error:
        notes += (f"{source.name}: the file's metadata are left out: {file.metadata_error}",)
    content = _content(source.path, chosen.graph) if chosen is not None and chosen.graph else None
    needs_interpreter = has_open_shapes(file.info)
    if needs_interpreter:
        _require_safe(source, file.sha256, engine)
    outputs = output_shapes(source.name, file.info, spec, content or source.path, engine)
    known_output = source.entry.output if source.entry else {}
    if output_tensor is None:
        output_tensor = known_output.get("tensor")
    index = choose_output(source.name, outputs, spec.batch, output_tensor, given)
    names = given or _own_labels(file, index)
    output = output_spec(
        source.name,
        file.info,
        outputs,
        index,
        batch=spec.batch,
        known=known_output,
        labels=len(names) if names else None,
    )
    if not needs_interpreter:  # last, so that what a model is for is said first
        _require_safe(source, file.sha256, engine)
    if names is None:
        fitted = numbered_labels(output.classes)
        label_notes: tuple[str, ...] = (_without_labels(source, file),)
    else:
        fitted, label_notes = fit_labels(names, output.classes, _labels_name(labels, source))
    if output.kind == "logits":
        function = "a sigmoid makes a probability of it" if output.binary else "softmax makes probabilities of them"
        notes += (f"{source.name}: the output is {'a logit' if output.binary else 'logits'}; {function}",)
    if locale is not None:
        notes += _locale_notes(source.name, file, locale, given)
    if labels is not None or source.entry is None or names is None:
        notes += label_notes  # the catalog's own label files are known to fit
    name = chosen.name if chosen is not None else None
    return ClassifierModel(source.name, source.path, spec, output, fitted, notes, names is not None, name, content)


def _content(path: Path, graph: int) -> bytes:
    with open_mapped(path) as data:
        return with_graph_first(data, graph)


def _own_block(file: ModelFile) -> OwnBlock | None:
    """What ``aicli train`` wrote into the file. Raises :class:`ModelError` when somebody damaged it."""
    block = file.info.metadata.get(own_block.NAME)
    if not block:
        return None
    try:
        return own_block.read_own_block(block)
    except DamagedError as error:
        raise ModelError(f"{file.path}: {error}; train it again") from None


def looks_like_path(model: str) -> bool:
    return model.lower().endswith((".tflite", ".lite")) or "/" in model or os.sep in model


def resolve(model: str | Path, task: str) -> Source:
    """The file behind a name or a path."""
    if isinstance(model, str) and not looks_like_path(model):
        entry = entries.find_entry(model)
        if entry is not None:
            if entry.task != task:
                raise ModelError(f"the model {entry.name} is for another task; use: aicli {entry.task} -m {entry.name}")
            return Source(entry.name, require_file(entry, "model"), entry)
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


def _require_safe(source: Source, digest: str, engine: AnyEngine) -> None:
    """Checks what the catalog does not vouch for: the file, and that it runs once without a crash."""
    if source.entry is not None and not source.entry.own and source.entry.files["model"].sha256:
        return
    if digest in entries.known_checksums():
        return
    check_file(source.path)
    if not engine.contained:
        from aicli.catalog.probe import require_safe

        require_safe(source.path, digest, engine)


def _given_labels(labels: Labels | None, source: Source) -> tuple[str, ...] | None:
    """The labels that the caller gave, or those of the catalog."""
    if labels is not None:
        if isinstance(labels, (str, Path)):
            return read_labels(Path(labels).expanduser())
        return tuple(str(label) for label in labels)
    if source.entry is not None and "labels" in source.entry.files:
        path = require_file(source.entry, "labels")
        files.check_digest(source.entry, source.entry.files["labels"], path, files.checksum(path))
        return read_labels(path)
    if source.entry is None and source.path.parent == folders.user_models():
        for beside in (source.path.with_suffix(".txt"), source.path.with_name(f"{source.path.stem}_labels.txt")):
            if beside.is_file():
                return read_labels(beside)
    return None


def _own_labels(file: ModelFile, index: int) -> tuple[str, ...] | None:
    """The labels that the file brings for this output, if any."""
    if file.metadata and index < len(file.metadata.labels) and file.metadata.labels[index]:
        return file.metadata.labels[index]
    return (file.ultralytics.names or None) if file.ultralytics else None


def _without_labels(source: Source, file: ModelFile) -> Remark:
    """The note that a model has no labels, and where they may be."""
    known = entries.known_checksums().get(file.sha256)
    beside = next((path for path in sorted(source.path.parent.glob("*labels*.txt"))), None)
    hint = ""
    if known and known != source.name:
        hint = f" (the model {known} of the catalog is this one with its labels)"
    elif beside is not None:
        hint = f" (is it {beside}?)"
    label = OptionName("labels")
    return Remark(f"{source.name}: no labels, so classes go by their numbers; give the label file with ", label, hint)


def _locale_notes(name: str, file: ModelFile, locale: str, given: Sequence[str] | None) -> tuple[str, ...]:
    """What is to be said where no labels in the language asked for are used."""
    if given is not None:
        option = OptionName("locale")
        return (Remark(f"{name}: the labels come from a file of their own, so ", option, f" {locale} chooses nothing"),)
    locales = file.metadata.locales if file.metadata else ()
    if any(item.lower().split("-")[0] == locale.lower().replace("_", "-").split("-")[0] for item in locales):
        return ()
    there = ", ".join(locales) or "no language"
    return (f"{name}: the file has no labels for '{locale}'; it has them for {there}",)


def _labels_name(labels: Labels | None, source: Source) -> str:
    return str(labels) if isinstance(labels, (str, Path)) else source.name
