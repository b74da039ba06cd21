"""What a task needs to know about a model: its files, how its input is fed, how its output is read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

__all__ = [
    "Channels",
    "ClassifierModel",
    "Crop",
    "DType",
    "FaceModel",
    "Filter",
    "InputSpec",
    "OutputKind",
    "OutputSpec",
]

DType = Literal["uint8", "int8", "float32", "float16"]
Channels = Literal["rgb", "bgr"]
Crop = Literal["squash", "crop", "pad"]
Filter = Literal["bilinear", "bicubic"]
OutputKind = Literal["probabilities", "logits", "unknown"]
Triple = tuple[float, float, float]


class InputSpec(NamedTuple):
    """An input tensor [1, height, width, 3] and the way from pixels (0 to 255) to it.

    ``real = (pixel - mean) / std`` for each of the model's channels; an 8-bit input then gets
    ``round(real / scale) + zero_point``. ``crop`` is what happens to an image of another aspect ratio: ``squash`` it,
    ``crop`` the largest centred part, or ``pad`` it with black.
    """

    width: int
    height: int
    dtype: DType
    scale: float
    zero_point: int
    mean: Triple
    std: Triple
    channels: Channels
    crop: Crop
    filter: Filter


class OutputSpec(NamedTuple):
    """The output tensor to read, by its place among the outputs: ``classes`` values, one per class.

    An 8-bit output means ``(value - zero_point) * scale``.
    """

    tensor: int
    classes: int
    dtype: DType
    scale: float
    zero_point: int
    kind: OutputKind


class ClassifierModel(NamedTuple):
    """A classifier ready to be run; ``labels`` has one label per class.

    ``notes`` says, a sentence each, what had to be assumed about the model.
    """

    name: str
    path: Path
    input: InputSpec
    output: OutputSpec
    labels: tuple[str, ...]
    notes: tuple[str, ...]


class FaceModel(NamedTuple):
    """The three networks of an MTCNN, fed with ``(pixel - mean) / std`` in the order of ``channels``."""

    name: str
    pnet: Path
    rnet: Path
    onet: Path
    mean: float
    std: float
    channels: Channels
