"""One photo through a classifier with every usual range of its input, so that a person sees which is right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aicli.catalog.ranges import CANDIDATES, Feeding
from aicli.errors import InferenceError, Remark
from aicli.tasks.classify import Classifier

if TYPE_CHECKING:
    from aicli.image.decode import ImageSource
    from aicli.results import Prediction

__all__ = ["Trial", "try_ranges"]


class Trial(NamedTuple):
    """The best labels with one feeding; ``used`` is the one that the model gets when nobody says otherwise.

    ``error`` says why there are none: with a wrong range some models answer what are no numbers.
    """

    option: Remark
    used: bool
    predictions: tuple[Prediction, ...]
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        found = [prediction.to_dict() for prediction in self.predictions]
        failed = {} if self.error is None else {"error": self.error}
        return {"option": self.option, "used": self.used, "predictions": found, **failed}


def try_ranges(
    model: str | Path, image: ImageSource, labels: str | Path | Sequence[str] | None = None, *, top_k: int = 3
) -> list[Trial]:
    """The answers for one image, the feeding that is used first. Raises what :class:`Classifier` raises."""
    usual = Classifier(model, labels, top_k=top_k)
    spec = usual.model.input
    picture = usual.open(image)
    mean, std = (spec.mean[::-1], spec.std[::-1]) if spec.channels == "bgr" else (spec.mean, spec.std)
    mine = Feeding(Remark("(by itself)"), mean, std, spec.channels)
    others = [item for item in CANDIDATES if spec.depth == 3 or item.mean == (item.mean[0],) * 3]
    same = next((item for item in others if item[1:] == mine[1:]), None)
    trials = [trial((same or mine).option, True, usual, picture)]
    for item in others:
        if item is not same:
            classifier = Classifier(model, labels, top_k=top_k, **feeding_keywords(item))
            trials.append(trial(item.option, False, classifier, picture))
    return trials


def trial(option: Remark, used: bool, classifier: Classifier, picture: Any) -> Trial:
    try:
        return Trial(option, used, classifier.classify(picture).predictions)
    except InferenceError as error:
        return Trial(option, used, (), error.message)


def feeding_keywords(item: Feeding) -> dict[str, Any]:
    """What asks a :class:`Classifier` for this feeding."""
    if item.mean == (item.mean[0],) * 3:
        return {"input_range": item.ends(0)}
    return {"mean": item.mean, "std": item.std, "channels": item.channels}
