"""How often a classifier is right on labelled photos: top-1, top-5, confusion, calibration, counted in a stream."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aicli.errors import UsageError
from aicli.image.inputs import IMAGE_SUFFIXES
from aicli.results import Classification
from aicli.tasks.many import Failure

if TYPE_CHECKING:
    from aicli.tasks.classify import Classifier

__all__ = ["Evaluation", "LabelledPhoto", "evaluate", "find_labelled"]

WORDNET = re.compile(r"(n\d{8})[_\s.-]*(.*)")
BINS = 10
"""Bins of the calibration, each a tenth of the scores."""
NORMAL = 1.96
"""Standard deviations of a 95 % interval."""


class LabelledPhoto(NamedTuple):
    """A photo and the class that it shows, as an index in the model's output."""

    path: Path
    truth: int


@dataclass
class Bin:
    """Answers whose best score lies in one tenth: how many, how many of them right, the sum of their scores."""

    count: int = 0
    right: int = 0
    score: float = 0.0


@dataclass
class Evaluation:
    """The counts so far; what it keeps grows with the classes that are confused, not with the photos."""

    labels: Sequence[str]
    photos: int = 0
    failed: int = 0
    top1: int = 0
    top5: int = 0
    confusion: Counter[tuple[int, int]] = field(default_factory=Counter)
    """How often a truth (first) was answered with a class (second)."""
    bins: list[Bin] = field(default_factory=lambda: [Bin() for _ in range(BINS)])

    def add(self, truth: int, answer: Classification) -> None:
        """Counts one answer, which has five predictions where the model has as many classes."""
        best = answer.best
        if best is None:
            raise ValueError("an answer without predictions cannot be counted")
        self.photos += 1
        right = best.index == truth
        self.top1 += right
        self.top5 += any(found.index == truth for found in answer.predictions[:5])
        self.confusion[truth, best.index] += 1
        place = self.bins[min(BINS - 1, int(best.score * BINS))]
        place.count += 1
        place.right += right
        place.score += best.score

    @property
    def calibration_error(self) -> float:
        """The expected calibration error: how far scores and the part of right answers lie apart, 0 to 1."""
        return sum(abs(item.score - item.right) for item in self.bins) / self.photos if self.photos else 0.0

    def by_class(self) -> dict[int, tuple[int, int, int]]:
        """For each class that was shown or answered: photos of it, right ones, answers with it."""
        found: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        for (truth, answered), count in self.confusion.items():
            found[truth][0] += count
            found[truth][1] += count * (truth == answered)
            found[answered][2] += count
        return {index: (shown, right, answered) for index, (shown, right, answered) in sorted(found.items())}

    @property
    def balanced(self) -> float:
        """The mean of the classes' own parts of right answers: classes of few photos count as much as others."""
        parts = [right / shown for shown, right, _ in self.by_class().values() if shown]
        return sum(parts) / len(parts) if parts else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON; parts are 0 to 1, intervals hold with 95 %."""
        classes = {
            self.labels[index]: {"photos": shown, "right": right, "answered": answered}
            for index, (shown, right, answered) in self.by_class().items()
        }
        confused = [(pair, count) for pair, count in self.confusion.most_common() if pair[0] != pair[1]]
        return {
            "photos": self.photos,
            "failed": self.failed,
            "top1": part(self.top1, self.photos),
            "top1_interval": interval(self.top1, self.photos),
            "top5": part(self.top5, self.photos),
            "top5_interval": interval(self.top5, self.photos),
            "balanced": round(self.balanced, 6),
            "calibration_error": round(self.calibration_error, 6),
            "calibration": [
                {"from": place / BINS, "photos": item.count, "score": part(item.score, item.count),
                 "right": part(item.right, item.count)}
                for place, item in enumerate(self.bins)
            ],
            "classes": classes,
            "confused": [
                {"truth": self.labels[truth], "answer": self.labels[answered], "photos": count}
                for (truth, answered), count in confused
            ],
        }  # fmt: skip


def part(count: float, whole: int) -> float | None:
    return round(count / whole, 6) if whole else None


def interval(count: int, whole: int) -> list[float] | None:
    """Wilson's 95 % interval of a part."""
    if not whole:
        return None
    share, spread = count / whole, NORMAL**2 / whole
    middle = (share + spread / 2) / (1 + spread)
    reach = NORMAL / (1 + spread) * math.sqrt(share * (1 - share) / whole + spread / (4 * whole))
    return [round(max(0.0, middle - reach), 6), round(min(1.0, middle + reach), 6)]


def evaluate(classifier: Classifier, photos: Iterable[LabelledPhoto], *, jobs: int = 1) -> Iterator[Evaluation]:
    """Classifies photos one after the other and yields the same, growing evaluation after each of them.

    ``classifier`` answers at least five classes (``top_k``) and leaves none out (``min_score``). A photo that cannot be
    read is counted as failed and belongs to no part.
    """
    options = classifier.options
    if options.min_score or (options.top_k and options.top_k < min(5, len(classifier.model.labels))):
        raise UsageError("an evaluation needs at least five answers of any score: top_k=5, min_score=0")
    found = Evaluation(classifier.model.labels)
    truths: list[int] = []

    def paths() -> Iterator[Path]:
        for photo in photos:
            truths.append(photo.truth)
            yield photo.path

    for place, answer in enumerate(classifier.many(paths(), jobs=jobs)):
        if isinstance(answer, Failure):
            found.failed += 1
        else:
            found.add(truths[place], answer)
        yield found


def find_labelled(folder: Path, labels: Sequence[str], wordnet_ids: Sequence[str] = ()) -> list[LabelledPhoto]:
    """The photos below a folder with their classes: ``CLASS/photo.jpg``, or names that begin with a WordNet id.

    A class is a label, one of the names that a label lists with commas, or a class number; capitals, blanks and
    underscores do not matter. A WordNet id is looked up in ``wordnet_ids`` (in the order of the classes); without them,
    the ids of the folder are taken in their order when there are as many as classes, as ImageNet's are; else what
    follows the id is the class. Raises :class:`UsageError` for photos whose class is not among the labels.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not paths:
        raise UsageError(f"{folder}: there are no photos in this folder")
    named = {path: WORDNET.fullmatch(path.stem) or WORDNET.fullmatch(path.parent.name) for path in paths}
    ids = sorted({match[1] for match in named.values() if match})
    order = list(wordnet_ids) or (ids if len(ids) == len(labels) else [])
    by_id = {identifier: index for index, identifier in enumerate(order)}
    by_name = class_names(labels)
    found, unknown = [], Counter[str]()
    for path, match in named.items():
        name = (match[2] or path.parent.name) if match else path.parent.name
        truth = by_id.get(match[1]) if match else None
        truth = by_name.get(plain(name)) if truth is None else truth
        if truth is None:
            unknown[name] += 1
        else:
            found.append(LabelledPhoto(path, truth))
    if unknown:
        first = ", ".join(f"'{name}'" for name, _ in unknown.most_common(5))
        raise UsageError(
            f"{folder}: {unknown.total()} of {len(paths)} photos are of no class of the model: {first}; photos lie in"
            " folders named after their class, or their names begin with a WordNet id"
        )
    return found


def class_names(labels: Sequence[str]) -> dict[str, int]:
    """The index of every name that means one class only: labels, the names that they list, numbers."""
    listed: dict[str, set[int]] = defaultdict(set)
    for index, label in enumerate(labels):
        for name in label.split(","):
            listed[plain(name)].add(index)
    names = {name: min(indices) for name, indices in listed.items() if len(indices) == 1}
    names |= {plain(label): index for index, label in reversed(list(enumerate(labels)))}
    return {str(index): index for index in range(len(labels))} | names


def plain(name: str) -> str:
    """A name without what folders are spelled with in their own ways."""
    return re.sub("[\\s_'\u2019-]+", " ", name).strip().casefold()
