"""Evaluation: a classifier's answers for labelled photos, counted in one pass."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aicli._text import counted, shown
from aicli.errors import AicliError, Hint, UsageError
from aicli.nn.engines import available_cores
from aicli.options import ClassifyOptions, EvaluateOptions
from aicli.tasks.classify import Classifier
from aicli.tasks.many import Failure
from aicli.training.dataset import WORDNET_ID, labelled_photos, refuse_sources, wordnet_photos
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
        return f"{self.model}: accuracy {self.scores.accuracy} on {counted(self.scores.photos, 'photo')}{failed}"

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
    also_written: Sequence[str | os.PathLike[str]] = (),
    **options: Any,
) -> Evaluation:
    """Classifies labelled photos and counts how often the answer is the label.

    ``photos`` is a folder with a folder of photos for each class, or a CSV or JSON Lines file of ``path`` and
    ``label``. A label of the photos that differs from the model's in case, or in ``_`` for a space, is taken for that
    one, and so is one of the names that a label lists with commas; a number is the class of that index. With
    ``wordnet_ids``, a file of an id a line in the order of the classes, the photos' names or their folders' begin with
    one. ``options`` are those of :class:`aicli.options.EvaluateOptions` (``include``, ``limit``, ``jobs``,
    ``wordnet_ids``) and :class:`aicli.options.ClassifierOptions` (``labels``, ``input_range``, ...). ``progress`` is
    called with the photos done, failed and in all. ``also_written`` are files that the caller writes afterwards, which
    may be none of those that are read.

    Raises :class:`UsageError` when the photos have a label that the model does not know, and what
    :class:`aicli.Classifier` raises.
    """
    own = {item.name for item in EvaluateOptions.fields}
    reading = EvaluateOptions(**{name: value for name, value in options.items() if name in own})
    chosen = ClassifyOptions(
        **{name: value for name, value in options.items() if name not in own}, model=model, top_k=5, min_score=0.0
    )
    classifier = Classifier.from_options(chosen)
    known = distinct(classifier.model.labels)
    if reading.wordnet_ids is None:
        given = labelled_photos(photos, include=reading.include, limit=reading.limit)
        find: Callable[[str, str], str] = ClassNames(classifier.model.labels, known)
    else:
        find = read_wordnet_ids(Path(reading.wordnet_ids), known)
        given = wordnet_photos(photos, include=reading.include, limit=reading.limit)
    if not given:
        raise UsageError("there are no photos in it").of(shown(str(photos)))
    named = [file for file in (chosen.labels, reading.wordnet_ids) if isinstance(file, (str, os.PathLike))]
    refuse_sources(also_written, [photos, classifier.model.path, *named, *(photo.path for photo in given)])
    names = {label: find(label, str(photos)) for label in dict.fromkeys(photo.label for photo in given)}
    scores = Scores(known)
    mistakes: list[tuple[str, str, str, float]] = []
    failures: list[Failure] = []
    jobs = reading.jobs or min(available_cores(), len(given))
    answers = classifier.many((str(photo.path) for photo in given), jobs=jobs)
    for photo, answer in zip(given, answers, strict=True):
        if isinstance(answer, Failure):
            failures.append(answer.named())
        elif not answer.predictions:
            failures.append(Failure(str(photo.path), AicliError("the model gave no answer")).named())
        else:
            label = names[photo.label]
            scores.add(label, [(known[item.index], item.score) for item in answer.predictions])
            best = answer.predictions[0]
            if known[best.index] != label:
                mistakes.append((str(photo.path), label, known[best.index], round(best.score, 4)))
                mistakes.sort(key=lambda item: -item[3])
                del mistakes[KEPT_MISTAKES:]
        if progress is not None:
            progress(scores.photos + len(failures), len(failures), len(given))
    return Evaluation(classifier.model.name, scores, mistakes, failures, classifier.model.notes)


def distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """A name of its own for each class: ImageNet has two that are called "crane"."""
    counts = Counter(labels)
    return tuple(label if counts[label] == 1 else f"{label} ({index})" for index, label in enumerate(labels))


class ClassNames:
    """Finds the class that a photo's label means."""

    def __init__(self, labels: Sequence[str], known: Sequence[str]) -> None:
        self._known = known
        self._exact = dict(zip(known, known, strict=True))
        self._whole = indices(enumerate(labels))
        self._listed = indices((index, name) for index, label in enumerate(labels) for name in label.split(","))

    def __call__(self, label: str, source: str) -> str:
        """The name of the class. Raises :class:`UsageError` when there is none, or more than one."""
        if label in self._exact:
            return label
        found = self._whole.get(plain(label)) or self._listed.get(plain(label)) or []
        if not found and label.isdecimal() and int(label) < len(self._known):
            found = [int(label)]
        if len(found) == 1:
            return self._known[found[0]]
        name = shown(label)
        if found:
            numbers = " and ".join(map(str, found))
            problem = f"the model has more than one class called '{name}'; name the class by its number: {numbers}"
            raise UsageError(problem).of(shown(source))
        if WORDNET_ID.match(label):
            hint = Hint("wordnet_ids", "{} takes the file that says which class an id is")
            raise UsageError(f"'{name}' begins with a WordNet id", hint=hint).of(shown(source))
        import difflib

        near = difflib.get_close_matches(plain(label), list(self._listed | self._whole), n=1, cutoff=0.75)
        problem = f"the model has no class called '{name}'"
        if near:
            index = (self._whole.get(near[0]) or self._listed[near[0]])[0]
            raise UsageError(f"{problem}; is it '{shown(self._known[index])}'?").of(shown(source))
        first, last = shown(self._known[0]), shown(self._known[-1])
        problem += f"; its {len(self._known)} classes go from '{first}' to '{last}'"
        raise UsageError(problem, hint=Hint("model", "{} names another model")).of(shown(source))


def indices(names: Iterable[tuple[int, str]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, name in names:
        places = found.setdefault(plain(name), [])
        if index not in places:
            places.append(index)
    return found


def plain(label: str) -> str:
    return " ".join(label.replace("_", " ").casefold().split())


def read_wordnet_ids(file: Path, known: Sequence[str]) -> Callable[[str, str], str]:
    """What finds the class of a WordNet id: the first word of each line is the id of the next class.

    A model with a class of the background before the others has one class more. Raises :class:`UsageError`.
    """
    try:
        ids = [line.split()[0] for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"the WordNet ids cannot be read ({reason})").of(shown(str(file))) from None
    names = known[1:] if len(known) == len(ids) + 1 and "background" in known[0].casefold() else known
    if wrong := next((name for name in ids if not WORDNET_ID.fullmatch(name)), None):
        raise UsageError(f"'{shown(wrong)}' is not a WordNet id; a line begins with one, as n01440764").of(
            shown(str(file))
        )
    if len(ids) != len(names) or len(set(ids)) != len(ids):
        problem = f"it has {counted(len(set(ids)), 'WordNet id')}, and the model {counted(len(known), 'class')}"
        raise UsageError(f"{problem}; give one a line, in their order").of(shown(str(file)))
    by_id = dict(zip(ids, names, strict=True))

    def find(label: str, source: str) -> str:
        if label not in by_id:
            raise UsageError(f"{shown(str(file))} has no id {label}").of(shown(source))
        return by_id[label]

    return find
