"""How good a classifier is on labelled photos, counted in one pass: accuracy, confusion, calibration."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["BINS", "ClassScore", "Interval", "Scores", "wilson"]

BINS = 10
Z = 1.959963984540054
"""Standard deviations that hold 95 % of a normal distribution."""


class Interval(NamedTuple):
    """A proportion and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1%} (95 % interval {self.low:.1%} to {self.high:.1%})"


def wilson(hits: int, count: int) -> Interval:
    """The Wilson score interval of a proportion (Wilson, "Probable inference", 1927); 0 to 1 for no trials."""
    if count == 0:
        return Interval(0.0, 0.0, 1.0)
    share = hits / count
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


class ClassScore(NamedTuple):
    """One class: photos that have it, answers that name it, and how often both."""

    label: str
    photos: int
    named: int
    right: int

    @property
    def recall(self) -> float:
        return self.right / self.photos if self.photos else math.nan

    @property
    def precision(self) -> float:
        return self.right / self.named if self.named else math.nan


@dataclass
class Scores:
    """Counts that grow photo by photo. ``labels`` are the model's classes, in its order."""

    labels: Sequence[str]
    photos: int = 0
    right: int = 0
    right_5: int = 0
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often a photo of the first label was answered with the second."""
    bins: list[list[float]] = field(default_factory=lambda: [[0, 0.0, 0] for _ in range(BINS)])
    """Photos, sum of scores, and right answers for each tenth of the best score."""

    def add(self, label: str, answers: Sequence[tuple[str, float]]) -> None:
        """Counts one photo of ``label``, answered by classes with scores, the best first."""
        best, score = answers[0]
        self.photos += 1
        self.right += best == label
        self.right_5 += any(name == label for name, _ in answers[:5])
        self.confusion[label, best] += 1
        bin = self.bins[min(BINS - 1, int(score * BINS))]
        bin[0] += 1
        bin[1] += score
        bin[2] += best == label

    @property
    def accuracy(self) -> Interval:
        """The share of photos whose best class is theirs."""
        return wilson(self.right, self.photos)

    @property
    def top_5(self) -> Interval:
        """The share of photos whose class is among the five best."""
        return wilson(self.right_5, self.photos)

    @property
    def calibration_error(self) -> float:
        """The expected calibration error: how far scores lie from the share of right answers, over ten bins."""
        if not self.photos:
            return math.nan
        return float(sum(abs(total - right) for _, total, right in self.bins) / self.photos)

    @property
    def mean_recall(self) -> float:
        """The mean of the classes' recalls, also called balanced accuracy: a rare class counts as much as others."""
        recalls = [item.recall for item in self.classes() if item.photos]
        return sum(recalls) / len(recalls) if recalls else math.nan

    def classes(self) -> list[ClassScore]:
        """Every class that a photo has or an answer names, in the model's order; labels it does not know come last."""
        photos: Counter[str] = Counter()
        named: Counter[str] = Counter()
        for (label, best), count in self.confusion.items():
            photos[label] += count
            named[best] += count
        order = {label: place for place, label in enumerate(self.labels)}
        seen = sorted(photos.keys() | named.keys(), key=lambda label: (order.get(label, len(order)), label))
        return [ClassScore(label, photos[label], named[label], self.confusion[label, label]) for label in seen]

    def to_dict(self) -> dict[str, Any]:
        def share(interval: Interval) -> dict[str, float]:
            return {name: round(value, 6) for name, value in interval._asdict().items()}

        return {
            "photos": self.photos,
            "accuracy": share(self.accuracy),
            "top_5": share(self.top_5),
            "mean_recall": round(self.mean_recall, 6) if self.photos else None,
            "calibration_error": round(self.calibration_error, 6) if self.photos else None,
            "classes": [
                {
                    "label": item.label,
                    "photos": item.photos,
                    "named": item.named,
                    "right": item.right,
                    "precision": None if math.isnan(item.precision) else round(item.precision, 6),
                    "recall": None if math.isnan(item.recall) else round(item.recall, 6),
                }
                for item in self.classes()
            ],
            "confusion": [
                {"label": label, "answer": best, "photos": count}
                for (label, best), count in sorted(self.confusion.items())
            ],
            "calibration": [
                {"photos": int(count), "mean_score": round(total / count, 6), "right": round(right / count, 6)}
                for count, total, right in self.bins
                if count
            ],
        }
