"""Training: labelled photos to a .tflite file whose last layer knows their classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aicli._files import write_file
from aicli._text import shown
from aicli.catalog import ClassifierModel
from aicli.catalog.load import load_classifier
from aicli.errors import Hint, UsageError
from aicli.nn.engines import available_cores, load_engine
from aicli.options import TrainOptions
from aicli.training.dataset import Labelled, folders_without_photos, labelled_photos, refuse_sources
from aicli.training.features import VIEWS, extract
from aicli.training.fitting import Progress, Table, Training, fit_table, gather
from aicli.training.head import require_solver
from aicli.training.surgery import Body, read_body

__all__ = ["OTHER", "check_classes", "require_folder", "train"]

OTHER = "other"
"""The label of ``negative`` photos."""


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
    empty = [f"no photos in the folder {shown(name)}, so no class" for name in folders_without_photos(photos, given)]
    if chosen.negative is not None:
        given += negatives(Path(chosen.negative), chosen.include, chosen.limit)
    labels = check_classes(given, str(photos))
    held_out = held_photos(given, chosen, labels)
    lists = [photos, chosen.validation if isinstance(chosen.validation, (str, os.PathLike)) else model.path]
    refuse_sources([target, *also_written], [model.path, *lists, *(photo.path for photo in given)])
    table = Reader(model, body, chosen, progress).read(given, labels, held_out)
    share = isinstance(chosen.validation, (int, float))
    what = "held out of the training" if share else f"those of {chosen.validation}"
    trained, data = fit_table(table, labels, model, body, str(target), seed=chosen.seed, held=what)
    trained.notes = (*empty, *trained.notes)
    write_file(target, data)
    return trained


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
        raise UsageError(f"{shown(source)}: there are no photos in it")
    if len(counts) == 1:
        (only,) = counts
        what = f"{shown(source)}: there is one class only ('{shown(only)}'); a classifier needs two"
        raise UsageError(what, hint=Hint("negative", "or give photos of none of the classes with {}"))
    return tuple(counts)


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


class Reader(NamedTuple):
    """How features are read."""

    model: ClassifierModel
    body: Body
    options: TrainOptions
    progress: Progress | None

    def read(self, given: Sequence[Labelled], labels: tuple[str, ...], held_out: frozenset[int]) -> Table:
        """Features of all photos; broken ones and repeated ones are left out and named."""
        options = self.options
        paths = [str(photo.path) for photo in given]
        answers = extract(
            *(self.body, self.model.input, paths),
            views=VIEWS if options.augment else 1,
            seed=options.seed,
            jobs=options.jobs or min(available_cores(), len(given)),
            reuse=options.features == "resume",
        )
        return gather(given, answers, labels, self.body.size, held_out, self.progress)
