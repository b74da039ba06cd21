"""The request records of docs/guest-abi.md: what a guest is told about a model and the answer that is wanted."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from aicli._record import Record

if TYPE_CHECKING:
    from aicli.catalog import InputSpec, OutputSpec

__all__ = ["CLASSIFY", "EXTENDED", "ClassifyRequest", "DetectRequest"]

CLASSIFY = struct.Struct("<5If3Ifi3f3f6Ifi3I")
LAYOUT = struct.Struct("<9I")
EXTENDED = CLASSIFY.size + LAYOUT.size
"""Bytes of a classify request that says where the axes of the input are."""
DETECT = struct.Struct("<4If3f3f2I3I")
MAX_FACES = 1 << 17
"""More than an image of 100 megapixels has room for; a guest that claims more is wrong."""

DTYPE_CODES = {"float16": 0, "float32": 1, "uint8": 3, "int8": 7, "int16": 8}
CROP_CODES = {"squash": 0, "crop": 1, "pad": 2}
FILTER_CODES = {"bilinear": 0, "bicubic": 1}
CHANNEL_CODES = {"rgb": 0, "bgr": 1}
KIND_CODES = {"unknown": 0, "probabilities": 1, "logits": 2}


class ClassifyRequest(Record):
    """What the guest is told about a classifier and the wanted answer."""

    input: InputSpec
    output: OutputSpec
    top_k: int
    min_score: float

    def most_records(self) -> int:
        """How many records an answer may have."""
        return min(self.top_k or self.output.classes, self.output.classes)

    @property
    def extension(self) -> str:
        """What this request needs beyond a record of 112 bytes, in a person's words; empty for most models."""
        source, answer = self.input, self.output
        usual = (1, source.height, source.width, 3)
        if source.shape != usual or source.planar:
            return f"an input of {'x'.join(map(str, source.shape))}"
        if "int16" in (source.dtype, answer.dtype):
            return "16-bit integers"
        return "an output of one value" if answer.binary else ""

    def pack(self, pixels: int, width: int, height: int) -> bytes:
        if not self.extension:
            return self._pack(CLASSIFY.size, pixels, width, height)
        source = self.input
        shape = (*source.shape, 1, 1, 1, 1)[:4]
        layout = (source.planar, source.depth, source.batch, self.output.binary)
        return self._pack(EXTENDED, pixels, width, height) + LAYOUT.pack(len(source.shape), *shape, *layout)

    def _pack(self, size: int, pixels: int, width: int, height: int) -> bytes:
        source, answer = self.input, self.output
        return CLASSIFY.pack(
            size,
            pixels,
            width,
            height,
            self.top_k,
            self.min_score,
            source.width,
            source.height,
            DTYPE_CODES[source.dtype],
            source.scale,
            source.zero_point,
            *source.mean,
            *source.std,
            CHANNEL_CODES[source.channels],
            CROP_CODES[source.crop],
            FILTER_CODES[source.filter],
            answer.tensor,
            answer.classes,
            DTYPE_CODES[answer.dtype],
            answer.scale,
            answer.zero_point,
            KIND_CODES[answer.kind],
            0,
            0,
        )


class DetectRequest(Record):
    """What the guest is told about an MTCNN cascade: sizes in pixels, thresholds and factor between 0 and 1."""

    min_size: float
    thresholds: tuple[float, float, float]
    factor: float
    mean: float
    std: float
    channels: str
    max_faces: int

    def most_records(self) -> int:
        """How many records an answer may have."""
        return self.max_faces or MAX_FACES

    def pack(self, pixels: int, width: int, height: int, *, raw: bool = False) -> bytes:
        """The record; with ``raw`` for networks that take the pixels as they are, whatever ``mean`` and ``std``."""
        return DETECT.pack(
            DETECT.size,
            pixels,
            width,
            height,
            self.min_size,
            *self.thresholds,
            self.factor,
            self.mean,
            self.std,
            CHANNEL_CODES[self.channels],
            self.max_faces,
            DTYPE_CODES["uint8"] if raw else 0,
            0,
            0,
        )
