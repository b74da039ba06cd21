"""Evaluation: a classifier's answers for labelled photos, counted in one pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aicli._text import shown
from aicli.errors import AicliError, UsageError
from aicli.nn.engines import available_cores
from aicli.options import ClassifyOptions, LabelledOptions
from aicli.tasks.classify import Classifier
from aicli.tasks.many import Failure
from aicli.training.dataset import Labelled, labelled_photos
from aicli.training.scoring import Scores

__all__ = ["Evaluation", "evaluate"]

KEPT_MISTAKES = 10


@dataclass
class Evaluation:
    """What came out. ``mistakes`` are the most certain wrong answers, as (path, label, answer, score)."""

    model: str
    scores: Scores
    mistakes: list[tuple[str, str, str, float]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"{self.model}: accuracy {self.scores.accuracy} on {self.scores.photos} photos{failed}"

    @property
    def accuracy(self) -> float:
        """The share of photos whose best class is theirs."""
        return self.scores.accuracy.value

    def to_dict(self) -> dict[str, Any]:
        names = ("path", "label", "answer", "score")
        return {
            "model": self.model,
            **self.scores.to_dict(),
            "mistakes": [dict(zip(names, mistake, strict=True)) for mistake in self.mistakes],
            "failures": [failure.to_dict() for failure in self.failures],
            "notes": list(self.notes),
        }


def evaluate(
    model: str | Path,
    photos: str | os.PathLike[str],
    *,
    progress: Callable[[int, int, int], None] | None = None,
    **options: Any,
) -> Evaluation:
    """Classifies labelled photos and counts how often the answer is the label.

    ``photos`` is a folder with a folder of photos for each class, or a CSV or JSON Lines file of ``path`` and
    ``label``. A label of the photos that differs from the model's in case, or in ``_`` for a space, is taken for that
    one; a number is the class of that index. ``options`` are those of :class:`aicli.options.LabelledOptions`
    (``include``, ``limit``, ``jobs``) and :class:`aicli.options.ClassifierOptions` (``labels``, ``input_range``, ...).
    ``progress`` is called with the photos done, failed and in all.

    Raises :class:`UsageError` when the photos have a label that the model does not know, and what
    :class:`aicli.Classifier` raises.
    """
    own = {item.name for item in LabelledOptions.fields}
    reading = LabelledOptions(**{name: value for name, value in options.items() if name in own})
    chosen = ClassifyOptions(
        **{name: value for name, value in options.items() if name not in own}, model=model, top_k=5, min_score=0.0
    )
    classifier = Classifier.from_options(chosen)
    given = labelled_photos(photos, include=reading.include, limit=reading.limit)
    if not given:
        raise UsageError(f"{shown(str(photos))}: there are no photos in its folders")
    known = classifier.model.labels
    names = {label: match(label, known, str(photos)) for label in dict.fromkeys(photo.label for photo in given)}
    scores = Scores(known)
    mistakes: list[tuple[str, str, str, float]] = []
    failures: list[Failure] = []
    jobs = reading.jobs or min(available_cores(), len(given))
    answers = classifier.many((str(photo.path) for photo in given), jobs=jobs)
    for photo, answer in paired(given, answers):
        if isinstance(answer, Failure):
            failures.append(answer)
        elif not answer.predictions:
            failures.append(Failure(str(photo.path), AicliError("the model gave no answer")))
        else:
            label = names[photo.label]
            scores.add(label, [(item.label, item.score) for item in answer.predictions])
            best = answer.predictions[0]
            if best.label != label:
                mistakes.append((str(photo.path), label, best.label, round(best.score, 4)))
                mistakes.sort(key=lambda item: -item[3])
                del mistakes[KEPT_MISTAKES:]
        if progress is not None:
            progress(scores.photos + len(failures), len(failures), len(given))
    return Evaluation(classifier.model.name, scores, mistakes, failures, classifier.model.notes)


def paired(photos: Sequence[Labelled], answers: Iterator[Any]) -> Iterator[tuple[Labelled, Any]]:
    return zip(photos, answers, strict=True)


def match(label: str, known: Sequence[str], source: str) -> str:
    """The model's name of a class. Raises :class:`UsageError` when it has none."""
    if label in known:
        return label
    folded = {plain(name): name for name in reversed(known)}
    if plain(label) in folded:
        return folded[plain(label)]
    if label.isdecimal() and int(label) < len(known):
        return known[int(label)]
    import difflib

    near = difflib.get_close_matches(plain(label), list(folded), n=1)
    hint = f"; is it '{shown(folded[near[0]])}'?" if near else ""
    raise UsageError(f"{shown(source)}: the model has no class called '{shown(label)}'{hint}")


def plain(label: str) -> str:
    return " ".join(label.replace("_", " ").casefold().split())
