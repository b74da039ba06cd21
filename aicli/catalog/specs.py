"""What a task needs to know about a model: its files, how its input is fed, how its output is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from aicli._record import Record

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

DType = Literal["uint8", "int8", "float32", "float16", "int16"]
Channels = Literal["rgb", "bgr"]
Crop = Literal["squash", "crop", "pad"]
Filter = Literal["bilinear", "bicubic"]
OutputKind = Literal["probabilities", "logits", "unknown"]
Triple = tuple[float, float, float]


class InputSpec(Record):
    """An input tensor and the way from pixels (0 to 255) to it.

    ``real = (pixel - mean) / std`` for each of the model's channels; a quantised input then gets
    ``round(real / scale) + zero_point``. ``crop`` is what happens to an image of another aspect ratio: ``squash`` it,
    ``crop`` the largest centred part, or ``pad`` it with black. ``shape`` is the tensor's: [1, height, width, 3]
    unless ``planar`` (a plane for each channel), of another ``batch`` (the image is its first, the others are 0), of
    one ``depth`` (grey) or without the axes that are 1.
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
    shape: tuple[int, ...]
    depth: int = 3
    batch: int = 1
    planar: bool = False


class OutputSpec(Record):
    """The output tensor to read, by its place among the outputs: ``classes`` values, one per class, for each image.

    A quantised output means ``(value - zero_point) * scale``. With ``binary`` there is one value ``p`` for one class,
    or for two whose scores are ``1 - p`` and ``p``.
    """

    tensor: int
    classes: int
    dtype: DType
    scale: float
    zero_point: int
    kind: OutputKind
    binary: bool = False


class ClassifierModel(Record):
    """A classifier ready to be run; ``labels`` has one label per class.

    ``notes`` says, a sentence each, what had to be assumed about the model. ``content`` are the bytes to run instead of
    the file where another of its signatures than the first was chosen. ``names`` tells whether the labels are more than
    the numbers of the classes.
    """

    name: str
    path: Path
    input: InputSpec
    output: OutputSpec
    labels: tuple[str, ...]
    notes: tuple[str, ...]
    names: bool = True
    signature: str | None = None
    content: bytes | None = None


class FaceModel(Record):
    """The three networks of an MTCNN, fed with ``(pixel - mean) / std`` in the order of ``channels``.

    ``pixels`` are the same networks by name, with the same answers, in files that take the bytes of the pixels and do
    that themselves; not every model has them.
    """

    name: str
    pnet: Path
    rnet: Path
    onet: Path
    mean: float
    std: float
    channels: Channels
    pixels: Mapping[str, Path] | None = None
