"""From the features of labelled photos to a head, and what it is worth: the part of training that opens no photo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from aicli._text import counted, shown
from aicli.catalog import ClassifierModel
from aicli.errors import AicliError, UsageError
from aicli.tasks.many import Failure
from aicli.training.dataset import Labelled
from aicli.training.features import Features
from aicli.training.head import Floats, Head, Sample, fit_head, rows_for, softmax
from aicli.training.model_file import trained_file
from aicli.training.scoring import Scores
from aicli.training.surgery import Body

__all__ = ["Doubt", "Progress", "Training", "fit_table", "gather"]

FEWEST = 2
FEW = 10
UNEVEN = 10
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
            f"accuracy {self.scores.accuracy} on {counted(self.scores.photos, 'photo')}, {self.measured_on}"
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


class Part(NamedTuple):
    """Photos that can be used: ``rows`` [photos, views, features] and ``classes`` [photos]."""

    photos: list[Labelled]
    rows: Floats
    classes: Any


class Table(NamedTuple):
    """The photos to train on, and those that are ``held`` out, of which one view each is looked at."""

    train: Part
    held: Part
    notes: tuple[str, ...]
    failures: list[Failure]


def gather(
    given: Sequence[Labelled],
    answers: Iterable[Features | Failure],
    labels: tuple[str, ...],
    size: int,
    held_out: frozenset[int] = frozenset(),
    progress: Progress | None = None,
) -> Table:
    """The features of all photos, ``size`` in a row, as they come; broken photos and repeated ones are left out and
    named. Raises :class:`AicliError` when none can be used."""
    rows: Floats | None = None
    digests: dict[bytes, list[int]] = {}
    failures: list[Failure] = []
    kept: list[int] = []
    for place, answer in enumerate(answers):
        if isinstance(answer, Features):
            if rows is None:
                rows = rows_for(len(given), len(answer.rows), size)
            rows[place] = answer.rows
            digests.setdefault(answer.digest, []).append(place)
            kept.append(place)
        else:
            failures.append(Failure(str(given[place].path), answer.error).named())
        if progress is not None:
            progress(place + 1, len(failures), len(given))
    if rows is None:
        reason = failures[0].bare
        if len(given) == 1:
            raise AicliError(f"the only photo cannot be read: {reason}")
        raise AicliError(f"none of the {len(given)} photos can be read; the first: {reason}")
    dropped, notes = repeated(digests, given)
    places = [place for place in kept if place not in dropped]
    numbers = {label: index for index, label in enumerate(labels)}

    def part(places: list[int], rows: Floats) -> Part:
        photos = [given[place] for place in places]
        return Part(photos, rows, np.array([numbers[photo.label] for photo in photos], int))

    measured = [place for place in places if place in held_out]
    first_views = rows_for(len(measured), 1, size)
    for target, place in enumerate(measured):
        first_views[target] = rows[place, :1]
    rest = [place for place in places if place not in held_out]
    return Table(part(rest, moved_up(rows, rest)), part(measured, first_views), notes, failures)


def fit_table(
    table: Table,
    labels: tuple[str, ...],
    model: ClassifierModel,
    body: Body,
    output: str,
    *,
    seed: int,
    held: str = "",
) -> tuple[Training, bytes]:
    """Fits a head to the photos that are not held out; what it is worth, and the file. ``held`` says which those are.

    Raises :class:`UsageError` when a class has too few photos.
    """
    sample = Sample(table.train.rows, table.train.classes)
    require_each(sample.classes, labels, table)
    notes = table.notes + balance(sample.classes, labels)
    head = fit_head(sample, len(labels), seed=seed)
    paths = [str(photo.path) for photo in table.train.photos]
    if table.held.photos:
        probabilities = softmax(table.held.rows[:, 0] @ head.weights.T + head.bias).astype(np.float32)
        scores, mistakes = measure(probabilities, table.held.classes, [str(p.path) for p in table.held.photos], labels)
        what = held
    else:
        scores, mistakes = measure(head.out_of_fold, sample.classes, paths, labels)
        what = "each answered by a fit that had not seen it"
    suspects = suspicious(head, sample, paths, labels)
    data = trained_file(body, head, model.input, labels, f"{len(labels)} classes, trained on {model.name}")
    counts = Counter(labels[index] for index in sample.classes)
    numbers = {label: counts[label] for label in labels}
    return Training(
        *(output, model.name, labels, numbers, scores, what, head.temperature),
        *(mistakes, suspects, notes, table.failures, len(data)),
    ), data


def require_each(classes: Any, labels: Sequence[str], table: Table) -> None:
    """Raises :class:`UsageError` when a class has too few photos, with what was left out that may be the reason."""
    counts = Counter(int(index) for index in classes)
    for index, label in enumerate(labels):
        if counts[index] < FEWEST:
            left = "no photo is" if not counts[index] else "one photo is"
            reasons = [*table.notes[:1], *(f"left out: {failure.bare}" for failure in table.failures[:1])]
            why = f" ({'; '.join(reasons)})" if reasons else ""
            raise UsageError(f"{left} left to train the class '{shown(label)}' on; it needs at least {FEWEST}{why}")


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


def moved_up(rows: Floats, places: Sequence[int]) -> Floats:
    """The rows at these places, moved to the front one by one, so that no copy of all is made."""
    for target, place in enumerate(places):
        if target != place:
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
        notes.append(f"{counted(twins, 'repeated photo')} left out (the same bytes in the same class)")
    return dropped, tuple(notes[:20]) + ((counted(len(notes) - 20, "more such note"),) if len(notes) > 20 else ())


def measure(
    probabilities: Floats, classes: Any, paths: Sequence[str], labels: tuple[str, ...]
) -> tuple[Scores, list[Doubt]]:
    """The scores, and the ten mistakes that were made with the most certainty; rows of NaN are left out."""
    scores = Scores(labels)
    mistakes: list[Doubt] = []
    for row, truth, path in zip(probabilities, classes, paths, strict=True):
        if np.isnan(row[0]):
            continue
        order = np.argsort(-row, kind="stable")[:5]
        scores.add(labels[truth], [(labels[index], float(row[index])) for index in order])
        if order[0] != truth:
            mistakes.append(Doubt(path, labels[truth], labels[order[0]], round(float(row[order[0]]), 4)))
    mistakes.sort(key=lambda doubt: -doubt.score)
    return scores, mistakes[:10]


def suspicious(head: Head, sample: Sample, paths: Sequence[str], labels: tuple[str, ...]) -> list[Doubt]:
    """Photos of the training whose label a fit without them finds hardly possible: they may be mislabelled."""
    found = []
    for row, truth, path in zip(head.out_of_fold, sample.classes, paths, strict=True):
        best = int(np.argmax(row)) if not np.isnan(row[0]) else int(truth)
        if best != truth and row[truth] < 0.1 and row[best] > 0.8:
            found.append(Doubt(path, labels[truth], labels[best], round(float(row[best]), 4)))
    return sorted(found, key=lambda doubt: -doubt.score)[:20]
