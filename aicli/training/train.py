"""Training: labelled photos to a .tflite file whose last layer knows their classes."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aicli._files import write_file
from aicli._text import shown
from aicli.catalog import ClassifierModel
from aicli.catalog.load import load_classifier
from aicli.errors import AicliError, Hint, UsageError, WriteError
from aicli.nn.engines import available_cores, load_engine
from aicli.options import TrainOptions
from aicli.tasks.many import Failure
from aicli.training.dataset import Labelled, labelled_photos, refuse_sources
from aicli.training.features import VIEWS, Features, extract
from aicli.training.head import Floats, Head, Sample, fit_head, require_solver, softmax
from aicli.training.model_file import trained_file
from aicli.training.scoring import Scores
from aicli.training.surgery import Body, read_body

__all__ = ["OTHER", "Doubt", "Training", "require_folder", "train"]

OTHER = "other"
"""The label of ``negative`` photos."""
FEWEST = 2
FEW = 10
UNEVEN = 10
IN_MEMORY = 1 << 28
"""Features beyond so many bytes lie in a file that the system pages in."""

Progress = Callable[[int, int, int], None]


class Doubt(NamedTuple):
    """A photo that a fit without it took for another class: ``answer`` with ``score``."""

    path: str
    label: str
    answer: str
    score: float


@dataclass
class Training:
    """What a training gave. ``scores`` are of photos that the measured fit had not seen; ``measured_on`` says which."""

    output: str
    base: str
    labels: tuple[str, ...]
    counts: dict[str, int]
    scores: Scores
    measured_on: str
    temperature: float
    mistakes: list[Doubt]
    suspects: list[Doubt]
    notes: tuple[str, ...] = ()
    failures: list[Failure] = field(default_factory=list)
    size: int = 0

    def __str__(self) -> str:
        photos = sum(self.counts.values())
        return (
            f"{self.output}: {len(self.labels)} classes from {photos} photos, {self.size / 1e6:.1f} MB; "
            f"accuracy {self.scores.accuracy} on {self.scores.photos} photos, {self.measured_on}"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.output,
            "base": self.base,
            "bytes": self.size,
            "labels": list(self.labels),
            "trained_on": self.counts,
            "measured_on": self.measured_on,
            "temperature": round(self.temperature, 6),
            **self.scores.to_dict(),
            "mistakes": [doubt._asdict() for doubt in self.mistakes],
            "suspects": [doubt._asdict() for doubt in self.suspects],
            "failures": [failure.to_dict() for failure in self.failures],
            "notes": list(self.notes),
        }


def train(
    photos: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    also_written: Sequence[str | os.PathLike[str]] = (),
    **options: Any,
) -> Training:
    """Trains a new last layer for ``base`` on labelled photos and writes a .tflite file.

    ``photos`` is a folder with a folder of photos for each class, or a CSV or JSON Lines file of ``path`` and
    ``label``. ``base`` is a classifier of the catalog or a .tflite file whose last layer is fully connected or a 1 x 1
    convolution. ``validation`` is a folder or list of other photos to measure on, or the share of each class that is
    held out for that; without it five fits, each without a fifth of the photos, measure what the final fit on all of
    them is worth. ``negative`` is a folder of photos of none of the classes, which become the class ``other``.
    ``augment`` trains on mirrored, cropped and otherwise lit views too. ``features="no-resume"`` computes anew what a
    former run left. The other options and all defaults are those of :class:`aicli.options.TrainOptions`. ``progress``
    is called with the photos done, failed and in all. ``also_written`` are files that the caller writes afterwards:
    like ``output``, they may be none that the training reads.

    The same photos, options and versions give the same file. Raises :class:`UsageError` for photos that cannot be
    trained on, :class:`aicli.errors.ModelError` for a base that is not a classifier, :class:`aicli.errors.WriteError`.
    """
    chosen = TrainOptions(**options)
    require_solver()
    target = Path(output)
    check_target(target)
    model = load_classifier(chosen.base, engine=load_engine(None))
    body = read_body(model.name, model.content or model.path.read_bytes(), model.output.tensor)
    given = labelled_photos(photos, include=chosen.include, limit=chosen.limit)
    if chosen.negative is not None:
        given += negatives(Path(chosen.negative), chosen.include, chosen.limit)
    labels = check_classes(given, str(photos))
    held_out = held_photos(given, chosen, labels)
    lists = [photos, chosen.validation if isinstance(chosen.validation, (str, os.PathLike)) else model.path]
    refuse_sources([target, *also_written], [model.path, *lists, *(photo.path for photo in given)])
    reader = Reader(model, body, chosen, progress)
    table = reader.read(given, labels, held_out)
    notes = table.notes + balance(table.classes, labels)
    measured = table.held
    sample = Sample(table.rows[~measured], table.classes[~measured])
    require_each(sample.classes, labels)
    head = fit_head(sample, len(labels), seed=chosen.seed)
    paths = np.array([str(photo.path) for photo in table.photos], object)
    if measured.any():
        probabilities = softmax(table.rows[measured, 0] @ head.weights.T + head.bias).astype(np.float32)
        where, classes = paths[measured], table.classes[measured]
        share = isinstance(chosen.validation, (int, float))
        what = "held out of the training" if share else f"those of {chosen.validation}"
    else:
        seen = ~np.isnan(head.out_of_fold[:, 0])
        probabilities, where, classes = head.out_of_fold[seen], paths[seen], table.classes[seen]
        what = "each answered by a fit that had not seen it"
    scores, mistakes = measure(probabilities, classes, where, labels)
    suspects = suspicious(head, sample, paths[~measured], labels)
    text = f"{len(labels)} classes, trained on {model.name}"
    data = trained_file(body, head, model.input, labels, text)
    write_file(target, data)
    counts = Counter(labels[index] for index in sample.classes)
    return Training(
        str(target),
        model.name,
        labels,
        {label: counts[label] for label in labels},
        scores,
        what,
        head.temperature,
        mistakes,
        suspects,
        notes,
        table.failures,
        len(data),
    )


def check_target(target: Path) -> None:
    if target.suffix.lower() != ".tflite":
        raise UsageError(f"{shown(str(target))}: a model's name ends in .tflite")
    if target.is_dir():
        raise UsageError(f"{shown(str(target))}: it is a folder; give a file name")
    require_folder(target)


def require_folder(target: Path) -> None:
    """Raises :class:`UsageError` when the folder of a file to write is not there, or not ours to write to."""
    folder = target.parent
    if not folder.is_dir():
        raise UsageError(f"there is no folder {shown(str(folder))}; make it first").of(shown(str(target)))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"nothing can be written to the folder {shown(str(folder))}").of(shown(str(target)))


def negatives(folder: Path, include: Sequence[str], limit: int | None) -> list[Labelled]:
    from aicli.image.inputs import expand

    if not folder.is_dir():
        raise UsageError(f"{shown(str(folder))}: there is no such folder; it should hold photos of none of the classes")
    found = [Labelled(item.path, OTHER) for item in expand([str(folder)], include=include) if item.path is not None]
    return [photo for photo in found if photo.path.is_file()][:limit]


def check_classes(photos: Sequence[Labelled], source: str) -> tuple[str, ...]:
    """The labels in the order of their first photo. Raises :class:`UsageError` when there is nothing to tell apart."""
    counts = Counter(photo.label for photo in photos)
    if not counts:
        raise UsageError(f"{shown(source)}: there are no photos in its folders")
    if len(counts) == 1:
        (only,) = counts
        what = f"{shown(source)}: there is one class only ('{shown(only)}'); a classifier needs two"
        raise UsageError(what, hint=Hint("negative", "or give photos of none of the classes with {}"))
    return tuple(counts)


def require_each(classes: Any, labels: Sequence[str]) -> None:
    counts = Counter(int(index) for index in classes)
    for index, label in enumerate(labels):
        if counts[index] < FEWEST:
            left = "no photo is" if not counts[index] else "one photo is"
            raise UsageError(f"{left} left to train the class '{shown(label)}' on; it needs {FEWEST} at least")


def balance(classes: Any, labels: Sequence[str]) -> tuple[str, ...]:
    """What a user should know of the numbers of photos."""
    counts = Counter(int(index) for index in classes)
    few = [f"{labels[index]} ({counts[index]})" for index in sorted(counts) if counts[index] < FEW]
    notes = []
    if few:
        shown_few = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
        notes.append(f"classes with fewer than {FEW} photos: {shown_few}; their scores are guesses")
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[most] >= UNEVEN * counts[least]:
        notes.append(
            f"very uneven classes: {counts[most]} photos of {labels[most]}, {counts[least]} of {labels[least]}; "
            "the rare one will be named less often"
        )
    return tuple(notes)


def held_photos(given: list[Labelled], options: TrainOptions, labels: tuple[str, ...]) -> frozenset[int]:
    """The places in ``given`` of photos to measure on; those of another folder are appended to it."""
    validation = options.validation
    if validation is None:
        return frozenset()
    if isinstance(validation, (int, float)):
        if not 0 < validation < 1:
            raise UsageError(f"the validation is {validation}; it is a share between 0 and 1, or a folder of photos")
        random = np.random.default_rng([options.seed, 2])
        places: list[int] = []
        for label in labels:
            own = [place for place, photo in enumerate(given) if photo.label == label]
            places += list(random.permutation(own)[: round(validation * len(own))])
        return frozenset(int(place) for place in places)
    others = labelled_photos(validation, include=options.include)
    unknown = sorted({photo.label for photo in others} - set(labels))
    if unknown:
        raise UsageError(f"{shown(str(validation))}: no class of the training is called '{shown(unknown[0])}'")
    given += others
    return frozenset(range(len(given) - len(others), len(given)))


class Table(NamedTuple):
    """The photos that can be used: ``rows`` [photos, views, features], ``classes``, and which are ``held`` out."""

    photos: list[Labelled]
    rows: Floats
    classes: Any
    held: Any
    notes: tuple[str, ...]
    failures: list[Failure]


class Reader(NamedTuple):
    """How features are read."""

    model: ClassifierModel
    body: Body
    options: TrainOptions
    progress: Progress | None

    def read(self, given: Sequence[Labelled], labels: tuple[str, ...], held_out: frozenset[int]) -> Table:
        """Features of all photos; broken ones and repeated ones are left out and named."""
        options = self.options
        views = VIEWS if options.augment else 1
        rows = rows_for(len(given), views, self.body.size)
        numbers = {label: index for index, label in enumerate(labels)}
        digests: dict[bytes, list[int]] = {}
        failures: list[Failure] = []
        kept: list[int] = []
        paths = [str(photo.path) for photo in given]
        answers = extract(
            *(self.body, self.model.input, paths),
            views=views,
            seed=options.seed,
            jobs=options.jobs or min(available_cores(), len(given)),
            reuse=options.features == "resume",
        )
        for place, answer in enumerate(answers):
            if isinstance(answer, Features):
                rows[place] = answer.rows
                digests.setdefault(answer.digest, []).append(place)
                kept.append(place)
            else:
                failures.append(Failure(paths[place], answer.error))
            if self.progress is not None:
                self.progress(place + 1, len(failures), len(given))
        if not kept:
            raise AicliError(f"none of the {len(given)} photos can be read; the first: {failures[0].error}")
        dropped, notes = repeated(digests, given)
        places = np.array([place for place in kept if place not in dropped])
        rows = rows[: len(given)] if len(places) == len(given) else squeezed(rows, places)
        return Table(
            [given[place] for place in places],
            rows,
            np.array([numbers[given[place].label] for place in places]),
            np.array([int(place) in held_out for place in places]),
            notes,
            failures,
        )


def rows_for(photos: int, views: int, size: int) -> Floats:
    """Room for the features: memory, or beyond a bound a file without a name."""
    shape = (photos, views, size)
    if 4 * photos * views * size <= IN_MEMORY:
        return np.zeros(shape, np.float32)
    with tempfile.TemporaryFile() as file:
        try:  # a page of a sparse file that finds the disk full would end the process
            os.posix_fallocate(file.fileno(), 0, 4 * photos * views * size)
        except AttributeError:  # macOS and Windows have no such call
            pass
        except OSError as error:
            raise WriteError(tempfile.gettempdir(), f"no room for the features ({error.strerror})") from None
        return np.memmap(file, np.float32, "w+", shape=shape)


def squeezed(rows: Floats, places: Any) -> Floats:
    """The rows at these places, moved to the front one by one, so that no copy of all is made."""
    for target, place in enumerate(places):
        rows[target] = rows[place]
    return rows[: len(places)]


def repeated(digests: dict[bytes, list[int]], given: Sequence[Labelled]) -> tuple[set[int], tuple[str, ...]]:
    """The places of photos to leave out because the same file is there again, and what to say about that.

    Of the same photo in one class the first stays. In two classes none does: nobody knows which label is right.
    """
    dropped: set[int] = set()
    notes = []
    twins = 0
    for places in digests.values():
        if len({given[place].label for place in places}) > 1:
            names = " and ".join(shown(str(given[place].path)) for place in places[:2])
            notes.append(f"the same photo in two classes, left out: {names}")
            dropped.update(places)
        else:
            twins += len(places) - 1
            dropped.update(places[1:])
    if twins:
        notes.append(f"{twins} repeated photos left out (the same bytes in the same class)")
    return dropped, tuple(notes[:20]) + ((f"{len(notes) - 20} more such notes",) if len(notes) > 20 else ())


def measure(probabilities: Floats, classes: Any, paths: Any, labels: tuple[str, ...]) -> tuple[Scores, list[Doubt]]:
    """The scores, and the ten mistakes that were made with the most certainty."""
    scores = Scores(labels)
    mistakes: list[Doubt] = []
    for row, truth, path in zip(probabilities, classes, paths, strict=True):
        order = np.argsort(-row, kind="stable")[:5]
        scores.add(labels[truth], [(labels[index], float(row[index])) for index in order])
        if order[0] != truth:
            mistakes.append(Doubt(str(path), labels[truth], labels[order[0]], round(float(row[order[0]]), 4)))
    mistakes.sort(key=lambda doubt: -doubt.score)
    return scores, mistakes[:10]


def suspicious(head: Head, sample: Sample, paths: Any, labels: tuple[str, ...]) -> list[Doubt]:
    """Photos of the training whose label a fit without them finds hardly possible: they may be mislabelled."""
    found = []
    for row, truth, path in zip(head.out_of_fold, sample.classes, paths, strict=True):
        best = int(np.argmax(row)) if not np.isnan(row[0]) else int(truth)
        if best != truth and row[truth] < 0.1 and row[best] > 0.8:
            found.append(Doubt(str(path), labels[truth], labels[best], round(float(row[best]), 4)))
    return sorted(found, key=lambda doubt: -doubt.score)[:20]
