"""A model run without aicli: the plain interpreter on pixels that were prepared with Pillow and NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aicli.nn.engines import load_engine

__all__ = ["photo_for", "plain_scores"]

IMAGENET = (np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375]))


def photo_for(source: Path, width: int, height: int) -> np.ndarray[Any, Any]:
    """A photo of exactly the size of a model's input, so that nobody resizes it."""
    return np.asarray(Image.open(source).convert("RGB").resize((width, height), Image.Resampling.LANCZOS))


def plain_scores(
    model: Path | bytes, pixels: np.ndarray[Any, Any], feeding: tuple[float, float] | str, output: int = 0
) -> np.ndarray[Any, Any]:
    """The numbers of an output for pixels (height x width x 3) that were fed as the model's author does.

    ``feeding`` is a range, ``imagenet`` (its mean and deviation) or ``bytes`` (the pixels as they are).
    """
    interpreter = load_engine("litert").interpreter(model, 1)
    detail = interpreter.get_input_details()[0]
    shape = [int(size) for size in detail["shape"]]
    if -1 in detail["shape_signature"][1:]:
        shape = [1, pixels.shape[0], pixels.shape[1], 3]
        interpreter.resize_tensor_input(detail["index"], shape)
    interpreter.allocate_tensors()
    if feeding == "imagenet":
        real = (pixels - IMAGENET[0]) / IMAGENET[1]
    elif feeding == "bytes":
        real = pixels.astype(np.float64)
    else:
        low, high = map(float, feeding)
        source = pixels
        if 3 not in shape:
            source = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
        real = source / 255 * (high - low) + low
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
        real = real.transpose(2, 0, 1)
    kind = np.dtype(detail["dtype"])
    if kind.kind in "iu" and feeding != "bytes":
        scale, zero = detail["quantization"]
        real = np.clip(np.round(real / scale) + zero, np.iinfo(kind).min, np.iinfo(kind).max)
    tensor = np.zeros(shape, kind)
    tensor.reshape(-1)[: real.size] = real.reshape(-1)
    interpreter.set_tensor(detail["index"], tensor)
    interpreter.invoke()
    answer = interpreter.get_output_details()[output]
    scores = interpreter.get_tensor(answer["index"]).astype(np.float64)
    scale, zero = answer["quantization"]
    scores = (scores - zero) * scale if scale else scores
    return np.asarray(scores.reshape(shape[0] if len(shape) == 4 else 1, -1)[0])
