"""What the tasks answer: plain immutable values, no image and no runtime in them."""

from __future__ import annotations

from typing import Any, NamedTuple

from aicli._record import Record

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


class Classification(Record):
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

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        """Square pixels; 0 for a box whose corners are the wrong way round."""
        return max(0.0, self.width) * max(0.0, self.height)

    @property
    def center(self) -> Point:
        return Point((self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2)

    def iou(self, other: Box) -> float:
        """Intersection over union with another box, 0 to 1."""
        shared = Box(
            max(self.x1, other.x1), max(self.y1, other.y1), min(self.x2, other.x2), min(self.y2, other.y2)
        ).area
        union = self.area + other.area - shared
        return shared / union if union > 0 else 0.0

    def clip(self, width: float, height: float) -> Box:
        """The part inside an image of this size; a box wholly outside becomes one without area on its border."""
        return Box(
            min(max(self.x1, 0.0), width),
            min(max(self.y1, 0.0), height),
            min(max(self.x2, 0.0), width),
            min(max(self.y2, 0.0), height),
        )

    def scale(self, x: float, y: float | None = None) -> Box:
        """The box in an image that is ``x`` times as wide and ``y`` (by default ``x``) times as high."""
        y = x if y is None else y
        return Box(self.x1 * x, self.y1 * y, self.x2 * x, self.y2 * y)


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


class Detection(Record):
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
