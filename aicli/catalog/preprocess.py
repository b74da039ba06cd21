"""How pixels become a model's input: by flags, the catalog, the file's metadata, else its quantisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from aicli.catalog.formats.tflite import ModelInfo, TensorInfo
from aicli.catalog.specs import Channels, Crop, DType, Filter, InputSpec, Triple
from aicli.errors import ModelError, UsageError

__all__ = ["input_spec", "parse_range"]

DEFAULT_SIDE = 224
"""Pixels of a MobileNet's input where the model leaves its size open."""
MAX_SIDE = 8192


def parse_range(text: str | tuple[float, float]) -> tuple[Triple, Triple]:
    """Mean and standard deviation (in pixel units) that map 0..255 to a range such as ``-1,1``.

    Raises :class:`UsageError` unless it is two different finite numbers.
    """
    parts = text.split(",") if isinstance(text, str) else list(text)
    try:
        low, high = (float(part) for part in parts)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError
    except (TypeError, ValueError):
        raise UsageError(
            f"the input range is two numbers, the smaller first, such as 0,1 or -1,1 - not '{text}'"
        ) from None
    std = 255 / (high - low)
    mean = 0.0 - low * std
    return (mean,) * 3, (std,) * 3


def input_spec(
    name: str,
    info: ModelInfo,
    known: Mapping[str, Any],
    normalization: tuple[Triple, Triple] | None,
    *,
    input_range: str | tuple[float, float] | None,
    resize: str | None,
    channels: str | None,
) -> tuple[InputSpec, tuple[str, ...]]:
    """The input of a classifier and notes on what was assumed.

    ``known`` is the catalog's input record, empty for a file from elsewhere; ``normalization`` is what the file's own
    metadata say. Raises :class:`ModelError` when the input is no RGB image.
    """
    tensor = _image_tensor(name, info)
    notes: list[str] = []
    width, height = _size(name, tensor, known, notes)
    mean, std = _normalization(name, info, known, normalization, input_range, notes)
    spec = InputSpec(
        width=width,
        height=height,
        dtype=_dtype(tensor.dtype),
        scale=tensor.scale or 1.0,
        zero_point=tensor.zero_point,
        mean=mean,
        std=std,
        channels=_choice("channels", channels or known.get("channels", "rgb"), get_args(Channels)),
        crop=_choice("resize", resize or known.get("crop", "squash"), get_args(Crop)),
        filter=_choice("filter", known.get("filter", "bilinear"), get_args(Filter)),
    )
    return spec, tuple(notes)


def _choice(option: str, value: Any, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise UsageError(f"{option} is one of {', '.join(allowed)} - not '{value}'")
    return value


def _dtype(name: str) -> DType:
    if name == "uint8":
        return "uint8"
    if name == "int8":
        return "int8"
    return "float16" if name == "float16" else "float32"


def _image_tensor(name: str, info: ModelInfo) -> TensorInfo:
    """The only input, if it takes one RGB image."""
    if len(info.inputs) != 1:
        raise ModelError(f"{name}: no image classifier: it has {len(info.inputs)} inputs, not one")
    tensor = info.inputs[0]
    shape = "x".join("?" if size == -1 else str(size) for size in tensor.shape) or "no dimensions"
    if tensor.dtype not in get_args(DType):
        raise ModelError(f"{name}: no image classifier: its input is {tensor.dtype}, not uint8, int8 or float")
    if len(tensor.shape) == 4 and tensor.shape[1] in (1, 3) and tensor.shape[3] not in (3, -1):
        raise ModelError(
            f"{name}: no image classifier: its input is {shape}; aicli feeds 1 x height x width x 3 (NHWC)"
        )
    if len(tensor.shape) != 4 or tensor.shape[0] not in (1, -1) or tensor.shape[3] not in (3, -1):
        raise ModelError(f"{name}: no image classifier: its input is {shape}, not 1 x height x width x 3")
    return tensor


def _size(name: str, tensor: TensorInfo, known: Mapping[str, Any], notes: list[str]) -> tuple[int, int]:
    """Width and height of the input."""
    sides = []
    for axis, key in ((2, "width"), (1, "height")):
        side = tensor.shape[axis]
        if side == -1:
            side = known.get(key) or (tensor.stored[axis] if tensor.stored[axis] > 1 else DEFAULT_SIDE)
            if key not in known:
                notes.append(f"{name}: the model leaves its input {key} open; assuming {side} pixels")
        if not 1 <= side <= MAX_SIDE:
            raise ModelError(f"{name}: no image classifier: its input {key} is {side} pixels")
        sides.append(side)
    return sides[0], sides[1]


def _normalization(
    name: str,
    info: ModelInfo,
    known: Mapping[str, Any],
    metadata: tuple[Triple, Triple] | None,
    input_range: str | tuple[float, float] | None,
    notes: list[str],
) -> tuple[Triple, Triple]:
    """Mean and standard deviation in pixel units."""
    if input_range is not None:
        return parse_range(input_range)
    tensor = info.inputs[0]
    from_catalog = (triple(known["mean"]), triple(known["std"])) if {"mean", "std"} <= known.keys() else None
    found = from_catalog or metadata
    if tensor.dtype in ("uint8", "int8"):
        raw = _raw_pixels(tensor)
        exact = known.get("exact", False)  # the user's own entry: decided when it was registered
        return found if found and (exact or _is_another_range(tensor, found, raw)) else raw
    if found:
        return found
    if info.takes_pixels:
        notes.append(f"{name}: the model begins by scaling pixels, so it gets them as they are (--input-range 0,255)")
        return parse_range("0,255")
    notes.append(
        f"{name}: nothing says what range its input has; assuming -1 to 1 (--input-range 0,1 is the usual other)"
    )
    return parse_range("-1,1")


def triple(values: Sequence[float]) -> Triple:
    """One number for all channels, or one each."""
    numbers = [float(value) for value in values]
    first, second, third = numbers * 3 if len(numbers) == 1 else numbers
    return first, second, third


def _raw_pixels(tensor: TensorInfo) -> tuple[Triple, Triple]:
    """The mean and deviation under which a quantised input holds the pixel itself (less 128 when it is signed).

    That is what quantisation does with an input of pixels, and what TensorFlow's own task library feeds.
    """
    shift = 128 if tensor.dtype == "int8" else 0
    return (float(tensor.zero_point + shift),) * 3, (1 / (tensor.scale or 1.0),) * 3


def _is_another_range(tensor: TensorInfo, found: tuple[Triple, Triple], raw: tuple[Triple, Triple]) -> bool:
    """Whether a normalisation is meant for a quantised input and differs from raw pixels by more than rounding.

    Metadata that were written for the float model, or that say "none" (0 and 1), would leave the type's range: those
    are not for the quantised values.
    """
    if tensor.dtype == "uint8" or not tensor.scale:
        return False

    def ends(mean: float, std: float) -> tuple[float, float]:
        return -mean / std / tensor.scale + tensor.zero_point, (255 - mean) / std / tensor.scale + tensor.zero_point

    different = False
    for channel in range(3):
        low, high = ends(found[0][channel], found[1][channel])
        if low < -131 or high > 130 or high - low < 64:
            return False
        raw_low, raw_high = ends(raw[0][channel], raw[1][channel])
        different = different or abs(low - raw_low) > 2 or abs(high - raw_high) > 2
    return different
