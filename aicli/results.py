"""What the tasks answer: plain immutable values, no image and no runtime in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Box", "Classification", "Detection", "Face", "Landmarks", "Point", "Prediction", "confidence_word"]


def confidence_word(score: float) -> str:
    """The word that the original classification services put beside a score (0 to 1).

    ``very high`` above 0.75, ``high`` above 0.5, ``medium`` above 0.2, else ``low``.
    """
    if score > 0.75:
        return "very high"
    if score > 0.5:
        return "high"
    if score > 0.2:
        return "medium"
    return "low"


class Prediction(NamedTuple):
    """One class of a classifier's answer: its index in the model's output, its label, its score (0 to 1)."""

    index: int  # type: ignore[assignment]  # not what a tuple calls so
    label: str
    score: float

    @property
    def confidence(self) -> str:
        """The score as a word; see :func:`confidence_word`."""
        return confidence_word(self.score)

    def to_dict(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "label": self.label,
            "score": round(self.score, 6),
            "confidence": self.confidence,
        }


@dataclass(frozen=True)
class Classification:
    """The answer of a classifier for one image, best class first.

    ``width`` and ``height`` are those of the upright image, in pixels. It is ``frame`` (from 0) of the ``frames`` of
    its file; ``part`` says what of a raw photo was looked at.
    """

    image: str
    width: int
    height: int
    model: str
    predictions: tuple[Prediction, ...]
    frame: int = 0
    frames: int = 1
    part: str | None = None

    @property
    def best(self) -> Prediction | None:
        """The class with the highest score; ``None`` when every class was below the minimum score."""
        return self.predictions[0] if self.predictions else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "image": self.image,
            "width": self.width,
            "height": self.height,
            "model": self.model,
            **of_file(self),
            "predictions": [prediction.to_dict() for prediction in self.predictions],
        }


class Point(NamedTuple):
    """A place in the upright image, in pixels from the top left corner."""

    x: float
    y: float


class Box(NamedTuple):
    """A rectangle in pixels of the upright image; it may reach beyond the image."""

    x1: float
    y1: float
    x2: float
    y2: float


class Landmarks(NamedTuple):
    """The five points that O-Net gives for a face. Left and right are as seen in the image."""

    left_eye: Point
    right_eye: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point


class Face(NamedTuple):
    """One face: its box, O-Net's score (0 to 1) and the five landmarks.

    ``turn`` is by how many degrees the photo has to be turned clockwise for the face to stand upright, where all four
    turns were looked at: left and right of the landmarks are then as seen in the photo turned so. All places are those
    of the photo as it is.
    """

    box: Box
    score: float
    landmarks: Landmarks
    turn: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "box": [round(value, 2) for value in self.box],
            "score": round(self.score, 6),
            "landmarks": {
                name: [round(point.x, 2), round(point.y, 2)]
                for name, point in zip(Landmarks._fields, self.landmarks, strict=True)
            },
            **({} if self.turn is None else {"turn": self.turn}),
        }


@dataclass(frozen=True)
class Detection:
    """The faces of one image, best score first; an image without a face has an empty tuple.

    ``frame``, ``frames`` and ``part`` are those of :class:`Classification`.
    """

    image: str
    width: int
    height: int
    model: str
    faces: tuple[Face, ...]
    frame: int = 0
    frames: int = 1
    part: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "image": self.image,
            "width": self.width,
            "height": self.height,
            "model": self.model,
            **of_file(self),
            "faces": [face.to_dict() for face in self.faces],
        }


def of_file(answer: Classification | Detection) -> dict[str, Any]:
    """What a record says where not the whole file was looked at: which frame of how many, which part."""
    said: dict[str, Any] = {}
    if answer.frames > 1:
        said |= {"frames": answer.frames, "frame": answer.frame}
    if answer.part is not None:
        said["part"] = answer.part
    return said
